"""The refusal a client sees: its form by Accept, its escaping, and replaced templates."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.block_page import HEADERS, MAX_URL, SHIPPED, Refusal, TemplateError, check_template, choose_type, render
from policy.verdict import Status

EXAMPLES = Path(__file__).parents[2] / "examples" / "block_pages"
REFUSAL = Refusal(
    status=Status.FOUND,
    virus="Win.Test.EICAR_HDB-1",
    antivirus="CLAM",
    acl="DOCUMENTS",
    reason="virus-found",
    id="hoemz234eg7murpdvfcu",
    url="http://example.org/eicar.com",
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
EVIL = "<script>alert(1)</script>\"'&\r\n\x1b[31m\u202e\u2028\x9b{id}"
EVERYTHING_EVIL = replace(
    REFUSAL, virus=EVIL, antivirus=EVIL, acl=EVIL, reason=EVIL, url="http://h/" + EVIL.replace("#", "")
)
KINDS = ("text/html", "application/json", "text/plain")


class Page(HTMLParser):
    """What a browser would see: the elements, and the text outside of style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.tags and self.tags[-1] != "style":
            self.text += data


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/json", "application/json"),
        ("application/vnd.api+json", "application/json"),
        ("*/*", "text/plain"),
        ("", "text/plain"),
        ("image/avif,image/webp,*/*;q=0.8", "text/plain"),
        ("image/png", "text/plain"),
        ("text/*", "text/plain"),
        ("TEXT/HTML", "text/html"),
        ("text/html;q=0.5, application/json;q=0.9", "application/json"),
        ("text/html;q=0, */*", "text/plain"),
        ("application/json;q=0.5, */*;q=1", "text/plain"),
        ("text/html;q=nonsense, application/json;q=0.001", "application/json"),
        ("text/html;q=1e9, application/json;q=nan", "text/plain"),
        ("text/html; level=1; q = 0.3, text/plain;q=0.2", "text/html"),
        (";;;,,,q=1", "text/plain"),
        ("text/html," * 100_000, "text/html"),
    ],
)
def test_the_form_follows_accept(accept, kind):
    """HTML for who names it, JSON for who names that, text for everybody else; q decides, junk counts nothing."""
    assert choose_type(accept) == kind
    assert render(REFUSAL, accept)[0].startswith(kind)


def test_no_accept_is_text():
    """A client without an Accept field gets text."""
    assert render(REFUSAL, None)[0] == "text/plain; charset=utf-8"


@given(st.text(max_size=50))
def test_any_accept_gives_one_of_three(accept):
    """No Accept field breaks the choice."""
    assert choose_type(accept) in KINDS


@pytest.mark.parametrize("accept", KINDS)
def test_every_form_explains_itself(accept):
    """Rule, engine, status, virus, reason, id and address stand in every form."""
    body = render(REFUSAL, accept)[1].decode()
    for value in ("DOCUMENTS", "CLAM", "found", "Win.Test.EICAR_HDB-1", "virus-found", REFUSAL.id, REFUSAL.url):
        assert value in body


@pytest.mark.parametrize("accept", KINDS)
@pytest.mark.parametrize("status", [*Status, None])
def test_every_status_has_its_words(accept, status):
    """Each status, and a refusal by rule alone, is explained; nothing reads None."""
    bare = replace(REFUSAL, status=status, virus=None, antivirus=None, acl=None)
    body = render(bare, accept)[1].decode()
    assert "None" not in body
    assert body != render(replace(bare, status=Status.FOUND), accept)[1].decode() or status is Status.FOUND


@pytest.mark.parametrize(("reason", "words"), [("upstream", "did not deliver"), ("protocol", "its protocol")])
def test_a_fault_of_the_origin_is_not_blamed_on_a_rule(reason, words):
    """Where the origin is at fault, the explanation says so, whatever the status."""
    body = render(replace(REFUSAL, status="error", reason=reason), "text/plain")[1].decode()
    assert words in body


def test_json_says_null_where_nothing_is_known():
    """The JSON form has the audit's names, null for what is not known, and the time as RFC 3339."""
    body = json.loads(render(replace(REFUSAL, virus=None, acl=None), "application/json")[1])
    assert body["virus"] is None
    assert body["acl"] is None
    assert body["blocked"] is True
    assert body["status"] == "found"
    assert body["time"] == "2026-01-02T03:04:05Z"


def test_html_escapes_every_value():
    """Markup, quotes and placeholders in a value show as text: the page has the template's elements and no other."""
    plain, evil = (Page(render(r, "text/html")[1].decode()) for r in (REFUSAL, EVERYTHING_EVIL))
    assert evil.tags == plain.tags
    assert evil.attributes == plain.attributes
    assert "script" not in evil.tags
    assert "<script>alert(1)</script>\"'&" in evil.text
    assert "{id}" in evil.text


@pytest.mark.parametrize("accept", KINDS)
def test_control_and_bidi_characters_are_shown(accept):
    """Control, escape, bidi and line-separating characters never reach the client as themselves."""
    body = render(EVERYTHING_EVIL, accept)[1].decode()
    assert not set("\x1b\u202e\u2028\x9b\r") & set(body)
    assert "\\u202e" in body


def test_a_value_cannot_add_a_line_of_text():
    """The text form has as many lines for hostile values as for plain ones."""
    plain, evil = (render(r, "text/plain")[1].count(b"\n") for r in (REFUSAL, EVERYTHING_EVIL))
    assert plain == evil


def test_json_is_no_html():
    """The JSON form holds no character that begins markup, and is ASCII."""
    body = render(EVERYTHING_EVIL, "application/json")[1]
    assert not set(b"<>&") & set(body)
    assert body.isascii()
    assert json.loads(body)["virus"].startswith("<script>")


@pytest.mark.parametrize("accept", KINDS)
def test_a_long_address_is_cut_and_has_no_secrets(accept):
    """A URL of 10 kB is cut; query, fragment and password are not shown."""
    url = "http://joe:secret@h/" + "a" * 10_000 + "?token=secret#secret"
    body = render(replace(REFUSAL, url=url, virus="v" * 10_000), accept)[1].decode()
    assert "secret" not in body
    assert "a" * (MAX_URL - 9) + "..." in body
    assert len(body) < 6000


def test_the_page_loads_nothing():
    """The shipped page has no script, link, form, picture or address of anything, and the policy forbids them."""
    page = Page(render(REFUSAL, "text/html")[1].decode())
    assert not {"script", "link", "img", "iframe", "form", "a", "object"} & set(page.tags)
    assert not {"href", "src", "action", "style"} & {name for name, _ in page.attributes}
    assert "url(" not in SHIPPED.read_text()
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
    assert "script-src" not in HEADERS["Content-Security-Policy"]


WHY = "http://sluice.local/why/hoemz234eg7murpdvfcu"


@pytest.mark.parametrize("accept", KINDS)
def test_the_id_leads_to_the_explanation(accept):
    """Where the client can reach it, every form names the URL; the page as the one link, around the id."""
    body = render(replace(REFUSAL, why=WHY), accept)[1].decode()
    assert WHY in body
    if accept == "text/html":
        page = Page(body)
        assert [value for name, value in page.attributes if name == "href"] == [WHY]
        assert f">{REFUSAL.id}</a>" in body


@pytest.mark.parametrize("accept", KINDS)
def test_who_cannot_reach_the_explanation_is_not_sent_there(accept):
    """Without a URL no form names sluice.local; the JSON form says null."""
    body = render(REFUSAL, accept)[1].decode()
    assert "sluice.local" not in body
    assert accept != "application/json" or json.loads(body)["why"] is None


def test_a_template_may_have_the_link_alone(tmp_path):
    """`{id_link}` names the id, too, and what stands in it is escaped."""
    path = tmp_path / "page.html"
    path.write_text("{status} {id_link}")
    body = render(replace(REFUSAL, id='"<b>', why='http://h/"><b>'), "text/html", check_template(path))[1].decode()
    assert body == 'found <a href="http://h/&quot;&gt;&lt;b&gt;" rel="noreferrer">&quot;&lt;b&gt;</a>'


@pytest.mark.parametrize("path", [SHIPPED, *sorted(EXAMPLES.glob("*.html"))], ids=lambda path: path.name)
def test_shipped_pages_are_good(path):
    """The shipped page and every example are accepted and leave no placeholder unfilled."""
    content_type, body = render(REFUSAL, "text/html", check_template(path))
    assert content_type == "text/html; charset=utf-8"
    assert REFUSAL.id in body.decode()
    assert "{id}" not in body.decode()
    assert "{explanation}" not in body.decode()


def test_there_are_examples():
    """At least one replacement is shipped to start from."""
    assert list(EXAMPLES.glob("*.html"))


def test_css_needs_no_escaping(tmp_path):
    """Braces that hold no single word are the template's own."""
    path = tmp_path / "page.html"
    path.write_text("<style>a{color:red} b { top: 0 } @media x{}</style>{{id}} {status} { id }{Id}{1}")
    body = render(REFUSAL, "text/html", check_template(path))[1].decode()
    assert (
        body == f"<style>a{{color:red}} b {{ top: 0 }} @media x{{}}</style>{{{REFUSAL.id}}} found {{ id }}{{Id}}{{1}}"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<p>\n {status} {id} {filename}", r":2:16: unknown placeholder \{filename\}; there are \{virus\}"),
        (b"{status}", r"page.html: lacks \{id\}"),
        (b"{id}", r"page.html: lacks \{status\}"),
        (b"\n\n{id} \xff {status}", r"page.html:3: is no UTF-8"),
        (b"{id}{status}" + b" " * 256 * 1024, r"page.html: is larger than 256 KiB"),
        (None, r"page.html: cannot be read: No such file"),
    ],
)
def test_bad_templates_are_told_at_load(tmp_path, content, message):
    """A template that cannot be used is refused with file, line and what is there instead."""
    path = tmp_path / "page.html"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TemplateError, match=message):
        check_template(path)
