"""The oracle finds what it is there to find: no check of the campaign can pass for its blindness."""

from __future__ import annotations

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply
from tests.http import samples
from tests.http.proxy import Proxy
from tests.http.variants.archives import SURROUNDINGS
from tests.http.variants.campaign import HARMLESS, PAYLOADS
from tests.http.variants.catalogue import catalogue
from tests.http.variants.clients import ask_by_socket
from tests.http.variants.oracle import holds_eicar
from tests.http.variants.packing import ARCHIVES, CODERS
from tests.http.variants.variant import Ask, Variant

# Bytes that no decoder gives whole any more, or half of the payload only, are no EICAR to anybody.
BEYOND = ("range", "coding: damage")


@pytest.mark.parametrize("kind", sorted({v.kind for v in catalogue() if v.reply and v.kind not in BEYOND}))
def test_it_finds_eicar_in_the_origins_own_bytes(kind: str) -> None:
    """Of every class there is something dangerous to a client without a gateway; the harmless form never is."""
    variants = [v for v in catalogue() if v.kind == kind and v.reply]
    assert any(_holds(v, PAYLOADS["eicar"]) for v in variants)
    assert [v.name for v in variants if _holds(v, HARMLESS)] == []


def _holds(variant: Variant, payload: bytes) -> bool:
    assert variant.reply is not None
    return holds_eicar(variant.reply(payload))


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("archive", ARCHIVES)
def test_it_opens_every_packing(coder: str, archive: str) -> None:
    """Bare bytes are tried with every decoder."""
    packed = CODERS[coder][1](ARCHIVES[archive](samples.EICAR))
    assert holds_eicar(packed)


@pytest.mark.parametrize("surroundings", [name for name in SURROUNDINGS if name != "a megabyte before"])
def test_it_finds_zips_amid_other_bytes(surroundings: str) -> None:
    """A zip is found wherever it stands."""
    assert holds_eicar(SURROUNDINGS[surroundings](ARCHIVES["zip"](samples.EICAR)))


def test_it_sees_stock_deliver(stock: Proxy, origin: Origin) -> None:
    """Through mitmdump without us, EICAR arrives, and is seen."""
    got = ask_by_socket(stock, origin.serve("/oracle", Reply(steps=(samples.EICAR,))), Ask())
    assert got.whole
    assert holds_eicar(got.wire)
