"""The content view, asked as mitmproxy's tools ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mitmproxy import contentviews, http
from mitmproxy.test import taddons, tflow

from addons.desktop.content_view import NAME, MissingContent, explain
from tests.addons.accounts import clean, refused


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    """The view in place, in a mitmproxy with its usual options; afterwards mitmproxy's own way again."""
    stock = contentviews.prettify_message
    missing = MissingContent()
    with taddons.context() as context:
        context.options.add_option("protobuf_definitions", str | None, None, "")
        missing.install()
        yield
        missing.remove()
    assert contentviews.prettify_message == stock


def make(**accounts: object) -> tuple[http.HTTPFlow, http.Response]:
    flow = tflow.tflow(resp=True)
    flow.metadata |= {f"av.{kind}": account for kind, account in accounts.items()}
    assert flow.response is not None
    return flow, flow.response


def test_a_refused_flow_shows_the_decision_unasked() -> None:
    """The view comes before that of HTML, and tells the virus and the trace instead of the page's source."""
    flow, response = make(download=refused())
    response.headers["content-type"] = "text/html"
    shown = contentviews.prettify_message(response, flow)
    assert (shown.view_name, shown.syntax_highlight) == (NAME, "yaml")
    assert "Eicar" in shown.text
    assert "doc-acl RADIO: no match" in shown.text


def test_a_refused_upload_shows_on_the_page_that_answers_it() -> None:
    """The response to it is ours, and so the upload's decision is what there is to tell."""
    flow, response = make(upload=refused(direction="upload"))
    assert contentviews.prettify_message(response, flow).view_name == NAME


def test_a_clean_flow_shows_its_content_unless_asked() -> None:
    """What passed is shown as ever, and the decision on request."""
    flow, response = make(download=clean())
    assert contentviews.prettify_message(response, flow).view_name != NAME
    assert "passed: free" in contentviews.prettify_message(response, flow, NAME).text


@pytest.mark.parametrize("view", ["auto", NAME])
def test_a_streamed_body_has_its_decision(view: str) -> None:
    """Where mitmproxy kept no content, the decision stands in its place."""
    flow, response = make(download=clean(size=3_000_000))
    response.raw_content = None
    shown = contentviews.prettify_message(response, flow, view)
    assert shown.view_name == NAME
    assert "3000000 B" in shown.text


def test_other_missing_content_is_left_to_mitmproxy() -> None:
    """Flows that were not checked, and other views, get mitmproxy's own words."""
    flow, response = make()
    response.raw_content = None
    assert contentviews.prettify_message(response, flow).text == "Content is missing."
    flow.metadata["av.download"] = clean()
    assert contentviews.prettify_message(response, flow, "raw").text == "Content is missing."


def test_each_message_tells_its_own_decision_first() -> None:
    """On the request the upload's comes first, on the response the download's; rescans come last."""
    flow, response = make(upload=clean(direction="upload", status=None), download=refused())
    flow.metadata["av.rescan"] = ["download: free"]
    assert next(explain(flow, flow.request)) == "# passed: by rule (doc-acl DOCUMENTS)"
    lines = list(explain(flow, response))
    assert lines[0].startswith("# refused: found Eicar")
    assert lines[-1] == "  - download: free"


def test_a_flow_that_was_not_checked_says_so() -> None:
    """There is always an answer."""
    assert list(explain(tflow.tflow())) == ["# nothing of this flow was checked"]
