"""The `avsluice` command.

Rules of this file: one module a command, imported only when it is the one asked for; a module has
`add_arguments(parser)` and `run(arguments) -> exit status`; a new command is one line in COMMANDS.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

COMMANDS = {
    "run": ("avsluice.run", "run the gateways of a policy"),
    "check": ("avsluice.check", "errors and warnings of a policy file"),
    "explain": ("avsluice.explain", "which rule would decide about an imagined object, and why"),
    "test": ("avsluice.scripted", "run scripted policy tests"),
    "scan": ("avsluice.scan", "ask the engines about files"),
    "doctor": ("avsluice.doctor", "whether each engine finds EICAR, and each running gateway stops it"),
    "quarantine": ("avsluice.quarantine", "list, show, release, export and delete what was kept back"),
    "stats": ("avsluice.stats", "what audit logs add up to"),
    "top": ("avsluice.top", "what is under way in running gateways"),
    "schema": ("avsluice.schema", "print the JSON Schema of the policy file"),
}
"""Command -> (module, one line of help)."""


class Command(Protocol):
    """What a command's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the command's own arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Does it; the process's exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Usage errors end with 2, an interrupt with 130 as in a shell; a reader that goes away
    (`avsluice ... | head`) ends us as it ends others, by SIGPIPE, which shells call 141. Anything that no command
    expected is 2 as well: 1 is an answer."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(words)
        finally:
            if sys.stdout is not None:  # closed by who started us
                sys.stdout.flush()  # here, where trouble is seen to; at exit it would only be complained about
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _end_by_sigpipe()
    except OSError as why:
        return _give_up(f"avsluice: {why}\n")
    except Exception:
        from traceback import format_exc

        return _give_up(format_exc())


def _run(words: Sequence[str]) -> int:
    if sys.stdout is None:
        raise OSError("standard output is closed")
    asked = next((word for word in words if not word.startswith("-")), "")
    command = cast("Command", import_module(COMMANDS[asked][0])) if asked in COMMANDS else None
    arguments = _build_parser(asked, command).parse_args(words)
    return command.run(arguments) if command is not None else 2  # 2: not reached, argparse has refused it


def _end_by_sigpipe() -> int:
    _forget_output()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.raise_signal(signal.SIGPIPE)
    return 128 + signal.SIGPIPE  # only where the signal is blocked


def _give_up(text: str) -> int:
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
    _forget_output()
    return 2


def _forget_output() -> None:
    """What Python would still write at exit must not fail again, for that would be status 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none, or a test's
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _build_parser(asked: str, command: Command | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="avsluice", description="Sluice, an antivirus gateway.")
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version and exit")
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (_, text) in COMMANDS.items():
        sub = parsers.add_parser(name, help=text, description=text)
        if name == asked and command is not None:
            command.add_arguments(sub)
    return parser


class _PrintVersion(argparse.Action):
    """Looked up only when asked for: reading a distribution's metadata takes longer than most commands."""

    def __call__(self, parser: argparse.ArgumentParser, *_ignored: object) -> None:
        from importlib.metadata import version

        print(f"avsluice {version('avsluice')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
