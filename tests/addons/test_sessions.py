"""Connections, counted."""

from __future__ import annotations

from addons.sessions import Sessions
from policy.model.gateway import Limits

LIMITS = Limits.model_validate({"connections": 3, "per-client": 2})


def test_a_client_has_its_share() -> None:
    """One address gets no more than per-client, the others are not touched by that."""
    sessions = Sessions()
    assert [sessions.enter(name, "192.0.2.1", LIMITS) is None for name in "abc"] == [True, True, False]
    assert sessions.enter("d", "192.0.2.2", LIMITS) is None


def test_all_together_have_a_limit() -> None:
    """Above connections nobody comes in, and the reason names the setting."""
    sessions = Sessions()
    for number in range(3):
        assert sessions.enter(str(number), f"192.0.2.{number}", LIMITS) is None
    assert "limits.connections" in str(sessions.enter("x", "192.0.2.9", LIMITS))


def test_who_leaves_makes_room() -> None:
    """A connection counts until it is left, once; one that was refused counts for nothing."""
    sessions = Sessions()
    for name in "abc":
        sessions.enter(name, "192.0.2.1", LIMITS)
    for name in "ccaa":
        sessions.leave(name)
    assert len(sessions) == 1
    assert sessions.enter("d", "192.0.2.1", LIMITS) is None
    sessions.leave("b")
    sessions.leave("d")
    assert repr(sessions) == "Sessions(0 of 0 clients)"
