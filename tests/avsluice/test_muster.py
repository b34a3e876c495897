"""Which gateways share a process, and what cannot be together."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsluice.muster import Muster, choose_gateways
from inspection.host import CannotServe
from policy.model import Policy

ACL = {"doc-acl": [{"name": "ALL"}]}
HTTP = {"listen": "127.0.0.1:0", **ACL}
FTP = {"listen": "127.0.0.1:0", "server": "127.0.0.1:21", **ACL}


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """FTP can be run, whoever stands for it; nobody is root."""
    monkeypatch.setattr("avsluice.muster.HOSTED", {"ftp-proxy": "none:None"})
    monkeypatch.setattr("os.geteuid", lambda: 1000)


def muster(http: dict[str, object] | None = None, ftp: dict[str, object] | None = None, *settings: str) -> Muster:
    policy = Policy.model_validate({"http-proxy": http or {}, "ftp-proxy": ftp or {}})
    return Muster(Path("p.yaml"), choose_gateways(policy, []), settings)


def test_each_http_proxy_is_alone_and_the_others_are_together() -> None:
    """Whatever their order."""
    tasks = muster({"A": HTTP, "B": HTTP}, {"E": FTP, "F": FTP}).tasks
    assert [(task.labels, task.is_http) for task in tasks] == [
        (("http-proxy.A",), True),
        (("http-proxy.B",), True),
        (("ftp-proxy.E", "ftp-proxy.F"), False),
    ]


@pytest.mark.parametrize(
    ("ftp", "settings", "words"),
    [
        ({"E": FTP, "F": {**FTP, "user": "nobody"}}, (), "different users (ftp-proxy.E: none, ftp-proxy.F: nobody)"),
        ({"E": {**FTP, "user": "no-such-user-here"}}, (), "ftp-proxy.E: user no-such-user-here: there is no such user"),
        ({"E": FTP}, ("confdir=/x",), "--set confdir: is for an http-proxy"),
        ({"E": FTP}, ("av_drain=soon",), "--set av_drain: "),
    ],
)
def test_what_cannot_be_is_refused(ftp: dict[str, object], settings: tuple[str, ...], words: str) -> None:
    """With its reason, before anything starts."""
    with pytest.raises(CannotServe) as refused:
        muster({}, ftp, *settings)
    assert words in str(refused.value)


def test_root_needs_a_user_for_each_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them without is enough to refuse all."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(CannotServe, match=r"ftp-proxy\.E would run as root"):
        muster({"A": {**HTTP, "user": "nobody"}}, {"E": FTP})


def test_the_parent_has_a_user_where_all_have_the_same() -> None:
    """Else it stays who it is."""
    own = {"user": "nobody"}
    assert muster({"A": {**HTTP, **own}}, {"E": {**FTP, **own}}).user == "nobody"
    assert muster({"A": {**HTTP, **own}}, {"E": {**FTP, "user": "daemon"}}).user is None
    assert muster({"A": HTTP}).user is None


def test_workers_are_told_what_they_share() -> None:
    """Each gets its gateways, the settings that are for it, and real ports; a single one keeps the policy's address."""
    all_of_them = muster({"A": HTTP}, {"E": FTP}, "confdir=/x", "av_drain=5s")
    assert all_of_them.patience == 5
    with all_of_them.reserve_addresses(2) as at:
        workers = all_of_them.make_workers(2, at)
        assert all(address.port for address in at.values())
    assert [worker.labels[0] for worker in workers] == ["http-proxy.A"] * 2 + ["ftp-proxy.E"] * 2
    words = [" ".join(worker._words) for worker in workers]
    assert (
        words[0]
        == words[1]
        == (f"p.yaml --only http-proxy.A --set confdir=/x --set av_drain=5s --at http-proxy.A={at['http-proxy.A']}")
    )
    assert words[2] == f"p.yaml --only ftp-proxy.E --set av_drain=5s --at ftp-proxy.E={at['ftp-proxy.E']}"
    with all_of_them.reserve_addresses(1) as at:
        assert at == {}
        assert "--at" not in all_of_them.make_workers(1, at)[0]._words


def test_a_unix_socket_is_not_for_several_workers() -> None:
    """Refused by name; one worker may have it."""
    one = muster({}, {"E": {**FTP, "listen": "/run/ftp"}})
    with one.reserve_addresses(1):
        pass
    with pytest.raises(CannotServe, match=r"ftp-proxy\.E: listen /run/ftp: several workers"), one.reserve_addresses(2):
        pass
