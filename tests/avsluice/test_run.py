"""What `avsluice run` is ready to run, and what it refuses before anything listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from addons.service import Service, choose_options
from avsluice.muster import choose_gateways
from inspection.host import CannotServe
from policy.model import HttpProxy, Policy

ACL = {"doc-acl": [{"name": "ALL"}]}
HTTP = {"listen": "127.0.0.1:8080", **ACL}
FTP = {"listen": "127.0.0.1:2121", "server": "127.0.0.1:21", **ACL}


def policy(http: dict[str, object], **more: object) -> Policy:
    return Policy.model_validate({"http-proxy": http, **{k.replace("_", "-"): v for k, v in more.items()}})


def test_every_enabled_gateway_is_run() -> None:
    """Disabled ones are left out, and so is what --only does not name."""
    one = policy({"A": HTTP, "B": {**HTTP, "enabled": False}, "C": HTTP}, ftp_proxy={"F": {**FTP, "enabled": False}})
    assert list(choose_gateways(one, [])) == ["http-proxy.A", "http-proxy.C"]
    assert list(choose_gateways(one, ["http-proxy.C"])) == ["http-proxy.C"]


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ([], "ftp-proxy.F: enabled, but not built yet in this version; run the others with --only http-proxy.A"),
        (["ftp-proxy.F"], "can be run"),
        (["http-proxy.B"], "http-proxy.B is disabled"),
        (["http-proxy.X"], "no gateway is called http-proxy.X"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(only: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left out silently."""
    monkeypatch.setattr("avsluice.muster.HOSTED", {})  # as before FTP was built
    one = policy({"A": HTTP, "B": {**HTTP, "enabled": False}}, ftp_proxy={"F": FTP})
    with pytest.raises(CannotServe) as refused:
        choose_gateways(one, only)
    assert words in str(refused.value)


def test_a_policy_without_a_gateway_is_nothing_to_run() -> None:
    """All disabled: that is an error."""
    with pytest.raises(CannotServe, match="nothing to run"):
        choose_gateways(policy({"B": {**HTTP, "enabled": False}}), [])


def proxy(**items: object) -> HttpProxy:
    raw = {**HTTP, **{k.replace("_", "-"): v for k, v in items.items()}}
    return HttpProxy.model_validate({key: value for key, value in raw.items() if value is not None})


def options(*settings: str, **items: object) -> dict[str, object]:
    return choose_options(Service(Path("p.yaml"), "HTTP", proxy(**items), settings))


def test_the_policy_becomes_options() -> None:
    """Where it listens, which server stands behind it, and how that is verified."""
    assert options()["listen_port"] == 8080
    assert options()["ssl_insecure"] is False
    assert "mode" not in options()
    tls = {"mode": "implicit", "verify": False}
    behind = options(server="192.0.2.1:8443", server_tls=tls)
    assert (behind["mode"], behind["ssl_insecure"]) == (["reverse:https://192.0.2.1:8443"], True)
    assert options(server="[::1]:80")["mode"] == ["reverse:http://[::1]:80"]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ({"listen": None}, "has no listen"),
        ({"listen": "/run/sluice.sock"}, "host:port only"),
        ({"tls": {"mode": "implicit", "certificate": "c.pem", "key": "k.pem"}}, "in the clear"),
        ({"server": ["192.0.2.1:80", "192.0.2.2:80"]}, "several servers"),
        ({"server": "/run/web.sock"}, "host:port only"),
        ({"user": "no-such-user-here"}, "no such user"),
    ],
)
def test_what_cannot_be_done_is_not_done_in_part(items: dict[str, object], words: str) -> None:
    """Each is refused with its reason."""
    with pytest.raises(CannotServe, match=words):
        options(**items)


def test_some_options_are_not_for_setting() -> None:
    """What the policy says cannot be said twice."""
    with pytest.raises(CannotServe, match="--set listen_port"):
        options("listen_port=1")
