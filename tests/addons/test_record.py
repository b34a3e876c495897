"""A flow's comment, marker and metadata."""

from __future__ import annotations

import pytest
from mitmproxy.test import tflow

from addons.record import clear_marks, comment, mark
from tests.addons.accounts import clean, refused


@pytest.mark.parametrize(
    ("account", "line"),
    [
        (clean(), "AV free (ACL DOCUMENTS)"),
        (refused(), "AV found Eicar (virus-found, ACL DOCUMENTS) - CLAM: FOUND"),
        (
            refused(action="cut", released=20),
            "AV found Eicar (virus-found, ACL DOCUMENTS) [20 B had left] - CLAM: FOUND",
        ),
        (clean(status=None), "AV unchecked (ACL DOCUMENTS)"),
        (refused(status=None, virus=None, reason="acl"), "AV refused (acl, ACL DOCUMENTS) - CLAM: FOUND"),
    ],
)
def test_the_comment_is_one_line_that_says_it_all(account, line) -> None:
    """Status and virus come first, for columns are narrow; a rule's refusal is not called a pass."""
    assert comment(account) == line


@pytest.mark.parametrize(
    ("status", "marker"),
    [("found", ":biohazard:"), ("unknown", ":warning:"), ("error", ":warning:"), ("skipped", ":hourglass:")],
)
def test_what_is_not_free_has_a_marker(status: str, marker: str) -> None:
    """Each status but `free` has its own."""
    flow = tflow.tflow()
    mark(flow, refused(status=status))
    assert flow.marked == marker


def test_a_refusal_stays() -> None:
    """What came after the first refusal of a flow changes neither comment nor marker, but its account is kept."""
    flow = tflow.tflow()
    upload, download = refused(direction="upload"), clean()
    mark(flow, upload)
    mark(flow, download)
    assert (flow.metadata["av.id"], flow.metadata["av.status"]) == (upload["id"], "found")
    assert (flow.metadata["av.upload"], flow.metadata["av.download"]) == (upload, download)


def test_a_cut_is_told_where_a_refusal_was() -> None:
    """The same object's end is known better than its verdict: how much had left, and that it was cut."""
    flow = tflow.tflow()
    mark(flow, refused(id="0" * 20))
    mark(flow, refused(id="0" * 20, action="cut", released=20))
    assert flow.metadata["av.action"] == "cut"
    assert "20 B had left" in flow.comment


def test_a_flow_that_is_replayed_begins_anew() -> None:
    """No mark, comment or entry of ours is left, and nobody else's is touched."""
    flow = tflow.tflow()
    flow.metadata["other"] = 1
    mark(flow, refused())
    clear_marks(flow)
    assert (flow.comment, flow.marked, flow.metadata) == ("", "", {"other": 1})
