"""What is known of a flow beside it."""

from __future__ import annotations

import gc

from mitmproxy.test import tflow

from addons.wire import exchange
from addons.wire.exchange import Clearance, exchange_of, forget_exchange


def test_a_flow_begins_unclassified() -> None:
    """Nothing is cleared by default, a copy has nothing of its original, and a replay begins anew."""
    flow = tflow.tflow(resp=True)
    assert (exchange_of(flow).request, exchange_of(flow).response) == (None, None)
    exchange_of(flow).response = Clearance.CHECKED
    assert exchange_of(flow).response is Clearance.CHECKED
    assert exchange_of(flow.copy()).response is None
    forget_exchange(flow)
    forget_exchange(flow)
    assert exchange_of(flow).response is None


def test_a_flow_that_is_gone_is_forgotten() -> None:
    """Exchanges hold no memory longer than their flows."""
    flow = tflow.tflow()
    exchange_of(flow)
    before = len(exchange._exchanges)
    del flow
    gc.collect()
    assert len(exchange._exchanges) < before
