"""Where a Valkey or Redis is: what is understood, and that no password comes out again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from policy.address import Address
from policy.load import PolicyError, load
from policy.model import Policy
from policy.valkey_url import ValkeyTls, ValkeyUrl

HOST = Address(host="h.example", port=6379)
SECRET = "p4ss"  # noqa: S105
POLICY = "antivirus:\n  A: {protocol: auto}\nhttp-proxy:\n  H: {doc-acl: [{name: D, antivirus: A}]}\n"


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("valkey://h.example", ValkeyUrl(HOST), "valkey://h.example:6379"),
        ("redis://h.example:6379/0", ValkeyUrl(HOST), "valkey://h.example:6379"),
        ("redis://[::1]:1/", ValkeyUrl(Address(host="::1", port=1)), "valkey://[::1]:1"),
        ("valkey://h.example/3", ValkeyUrl(HOST, db=3), "valkey://h.example:6379/3"),
        ("valkey://h.example?db=3", ValkeyUrl(HOST, db=3), "valkey://h.example:6379/3"),
        ("valkey://u@h.example", ValkeyUrl(HOST, "u"), "valkey://u@h.example:6379"),
        ("valkey://:p4ss@h.example", ValkeyUrl(HOST, None, SecretStr(SECRET)), "valkey://:***@h.example:6379"),
        ("valkey://u:p%2F%40%25@h.example", ValkeyUrl(HOST, "u", SecretStr("p/@%")), "valkey://u:***@h.example:6379"),
        ("valkeys://h.example", ValkeyUrl(HOST, tls=ValkeyTls()), "valkeys://h.example:6379"),
        (
            "rediss://h.example?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=False",
            ValkeyUrl(HOST, tls=ValkeyTls(Path("/ca"), Path("/c"), Path("/k"), check_host=False)),
            "valkeys://h.example:6379",
        ),
        (
            "rediss://h.example?ssl_cert_reqs=none",
            ValkeyUrl(HOST, tls=ValkeyTls(verify=False)),
            "valkeys://h.example:6379",
        ),
        ("unix:///run/v.sock", ValkeyUrl(Address(unix="/run/v.sock")), "unix:///run/v.sock"),
        (
            "unix://u:p4ss@/run/v.sock?db=2",
            ValkeyUrl(Address(unix="/run/v.sock"), "u", SecretStr(SECRET), 2),
            "unix://u:***@/run/v.sock?db=2",
        ),
        (
            "unix:///run/v.sock?username=u&password=p4ss",
            ValkeyUrl(Address(unix="/run/v.sock"), "u", SecretStr(SECRET)),
            "unix://u:***@/run/v.sock",
        ),
        ("h.example:6379", ValkeyUrl(HOST), "valkey://h.example:6379"),
        ("/run/v.sock", ValkeyUrl(Address(unix="/run/v.sock")), "unix:///run/v.sock"),
    ],
)
def test_each_form_is_understood(text: str, url: ValkeyUrl, shown: str):
    """All that the client libraries write, and plain addresses; shown without the password."""
    assert ValkeyUrl.parse(text) == url
    assert str(url) == shown
    assert SECRET not in f"{url!r} {url}"
    assert ValkeyUrl.parse(url) is url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no URL or address"),
        (6379, "no URL or address"),
        ("valkey://u:p4ss @h.example", "no URL or address"),
        ("valkey://u:p4ss@h.example\n", "no URL or address"),
        ("valkey://u:p4ss@" + "h" * 5000, "no URL or address"),
        ("http://u:p4ss@h.example", "a scheme that we do not know"),
        ("u:p4ss@h.example:6379", "a host and a port"),
        ("u:p4ss@h.example", "a host and a port"),
        ("h.example", "a host and a port"),
        ("valkey://", "a host and a port"),
        ("valkey://u:p4ss@/3", "a host and a port"),
        ("valkey://u:p4ss@h.example:0", "a host and a port"),
        ("valkey://u:p4ss@h.example:65536", "a host and a port"),
        ("valkey://u:p4ss@[::1", "no URL"),
        ("valkey://p4ss\u2100@h.example", "no URL"),
        ("valkey://u:p4ss/x@h.example", "a host and a port"),
        ("valkey://u:1/p4ss@h.example", "a database that is no number"),
        ("valkey://u:p4ss#@h.example", "holds a #"),
        ("valkey://u:p4ss@h.example#", "holds a #"),
        ("valkey://u:p4ss%ff@h.example", "not UTF-8"),
        ("valkey://h.example/x", "a database that is no number"),
        ("valkey://h.example/100000", "a database that is no number"),
        ("valkey://h.example?p4ss", "no list of key=value"),
        ("valkey://h.example?db=1&db=2", "each once"),
        ("valkey://h.example?socket_timeout=99", "may stand db, each once"),
        ("valkey://h.example?password=p4ss", "may stand db, each once"),
        ("valkeys://h.example?ssl_ca_certs=ca.pem", "not absolute"),
        ("valkeys://h.example?ssl_keyfile=/key", "without ssl_certfile"),
        ("valkeys://h.example?ssl_cert_reqs=p4ss", "write none or required"),
        ("unix://run/v.sock", "names a host"),
        ("unix://u:p4ss@", "or a socket"),
    ],
)
def test_what_is_refused_is_not_repeated(text: object, why: str):
    """Whatever was misspelt, the error says what to write and holds no password."""
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        ValkeyUrl.parse(text)
    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text(max_size=60) | st.builds("{}://{}".format, st.sampled_from(["valkey", "rediss", "unix"]), st.text()))
def test_anything_else_is_a_value_error(text: str):
    """No text raises anything else; what is understood has a place to connect to."""
    try:
        url = ValkeyUrl.parse(text)
    except ValueError:
        return
    assert url.address.unix or (url.address.host and url.address.port)


def test_a_policy_does_not_tell_the_password():
    """Neither its repr nor its JSON."""
    policy = Policy.model_validate({"cache": {"valkey": "valkey://u:p4ss@h.example/1"}})
    assert policy.cache.valkey is not None
    assert policy.cache.valkey.password == SecretStr(SECRET)
    assert SECRET not in repr(policy) + str(policy) + policy.model_dump_json() + repr(policy.model_dump())
    assert json.loads(policy.model_dump_json())["cache"]["valkey"] == "valkey://u:***@h.example:6379/1"


@pytest.mark.parametrize(
    "line",
    [
        "cache: valkey://u:p4ss@h.example",
        "cache: [valkey://u:p4ss@h.example]",
        "cache: {valkey://u:p4ss@h.example}",
        "cache: {valkey:valkey://u:p4ss@h.example}",
        "cache: {valkey: [valkey://u:p4ss@h.example]}",
        "cache: {entries: valkey://u:p4ss@h.example}",
        f"cache: {{entries: 'valkey://u:{80 * 'x'}p4ss@h.example'}}",
        "cache: {valkey: {valkey://u:p4ss@h.example: 1}}",
        "metrics: {listen: valkey://u:p4ss@h.example}",
        "spool: {memory: valkey://u:p4ss@h.example}",
    ],
)
def test_a_url_in_a_wrong_place_does_not_tell_the_password(line: str, tmp_path: Path):
    """The loader's errors repeat values, but no login of a URL."""
    file = tmp_path / "policy.yaml"
    file.write_text(f"{line}\n{POLICY}")
    with pytest.raises(PolicyError, match=r"policy\.yaml:1:") as caught:
        load(file)
    assert SECRET not in str(caught.value)
    assert "xxxx" not in str(caught.value)


def test_a_missing_certificate_is_told_by_the_loader(tmp_path: Path):
    """Before anything starts, with its place."""
    file = tmp_path / "policy.yaml"
    file.write_text(f"cache: {{valkey: 'valkeys://u:p4ss@h.example?ssl_ca_certs={tmp_path}/no.pem'}}\n{POLICY}")
    with pytest.raises(PolicyError) as caught:
        load(file)
    assert str(caught.value) == (
        f"{file}:1:9: cache.valkey: {tmp_path}/no.pem does not exist; create it, or write another file"
    )
