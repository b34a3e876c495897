"""Accounts as plain data."""

from __future__ import annotations

from enum import Enum

from mitmproxy.io import tnetstring

from addons.desktop.account import passed
from tests.addons.accounts import clean, refused


def test_an_account_is_plain_data() -> None:
    """mitmproxy can save it and read it back as it was, and no enumeration is left in it."""
    account = refused()
    assert tnetstring.loads(tnetstring.dumps(account)) == account
    assert not any(isinstance(value, Enum) for value in (*account.values(), *account["engines"][0].values()))


def test_an_account_says_more_than_the_record() -> None:
    """Beside the record's fields stand the engines' words, the length on the wire and every rule."""
    account = refused()
    assert (account["status"], account["action"], account["reason"]) == ("found", "deny", "virus-found")
    assert (account["detail"], account["transferred"]) == ("CLAM: FOUND", 70)
    assert account["engines"][0]["detail"] == "stream: Eicar FOUND"
    assert [line.split(":")[0] for line in account["trace"]] == ["doc-acl RADIO", "doc-acl DOCUMENTS"]


def test_no_query_is_in_an_account() -> None:
    """What stands behind the question mark of a URL is not kept."""
    assert "SECRET" not in str(refused())


def test_only_what_was_accepted_has_passed() -> None:
    """A cut or denied object has not."""
    assert passed(clean())
    assert not passed(refused())
    assert not passed(refused(action="cut"))
