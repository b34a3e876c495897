"""The quick answer to the stream layer's question what a transfer does next.

Rules of this file: it stands first in mitmproxy's chain and halts the event there, because no other addon has
anything to say to it and asking three dozen of them for every step would cost more than the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy import ctx, exceptions

if TYPE_CHECKING:
    from addons.stream import Pump


class PumpAddon:
    """Answers `av_pump`. A pump that nobody answers stops its body (see `addons.stream`)."""

    name = "sluice-pump"

    def register(self) -> None:
        """Stand first in the chain. May be called twice."""
        addons = ctx.master.addons
        if self not in addons.chain:
            addons.register(self)
            # A new list: mitmproxy may be walking the old one.
            addons.chain = [self, *addons.chain]

    def unregister(self) -> None:
        """Leave the chain. May be called twice."""
        if self in ctx.master.addons.chain:
            ctx.master.addons.remove(self)

    async def av_pump(self, pump: Pump) -> None:
        """Wait for the step. Cancellation and errors leave it empty."""
        pump.step = await pump.transfer.next_step()
        raise exceptions.AddonHalt
