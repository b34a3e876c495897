"""The stream layer's question what a transfer does next, and the quick answer to it.

Rules of this file: the addon stands first in mitmproxy's chain and halts the event there: no other addon has
anything to say to it, and asking three dozen of them at every step would cost more than the step.
"""

from __future__ import annotations

from dataclasses import dataclass

from mitmproxy import ctx, exceptions
from mitmproxy.proxy import commands

from addons.body.steps import Step
from addons.body.transfer import Transfer


@dataclass(slots=True)
class Pump:
    """One request for a step; `step` stays None where no addon answered, and then the body is stopped."""

    transfer: Transfer
    step: Step | None = None


@dataclass
class AvPumpHook(commands.StartHook):
    """Asks for a transfer's next step. `blocking` holds the stream itself, so the stream is not paused and gets
    the completion back as an event (mitmproxy.proxy.commands.Command.blocking)."""

    name = "av_pump"
    pump: Pump

    def __hash__(self) -> int:
        return id(self)


class PumpAddon:
    """Answers `av_pump`. A pump that nobody answers stops its body (see `addons.wire.stream`)."""

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
