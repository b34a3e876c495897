"""The private names that we stand on."""

from __future__ import annotations

import pytest
from mitmproxy.proxy.layers.http import HttpStream

from addons.surface import UnknownMitmproxy, check_surface


def test_this_mitmproxy_will_do() -> None:
    """The installed one has every name."""
    check_surface()


def test_a_missing_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mitmproxy without one of them is refused at load, by name."""
    monkeypatch.delattr(HttpStream, "send_response")
    with pytest.raises(UnknownMitmproxy, match=r"HttpStream\.send_response"):
        check_surface()
