"""Endless trials of a parser of replies, for a while.

Rules of this file: AVSLUICE_FUZZ_SECONDS (20) bounds the time, AVSLUICE_FUZZ_RUNS, if set, replaces it by a number of
executions; AVSLUICE_FUZZ_SEED repeats a run whose seed a failure told.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

_BETWEEN_LOOKS = 200


def fuzz(trial: Callable[[random.Random], None]) -> int:
    """Runs `trial` again and again, and returns how often. Its assertion errors are told with the seed."""
    seed = int(os.environ.get("AVSLUICE_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
    most = int(os.environ.get("AVSLUICE_FUZZ_RUNS") or 0)
    deadline = time.monotonic() + float(os.environ.get("AVSLUICE_FUZZ_SECONDS") or 20)
    chance = random.Random(seed)  # noqa: S311  (not for secrets)
    runs = 0
    while runs < most if most else time.monotonic() < deadline:
        for _ in range(_BETWEEN_LOOKS):
            try:
                trial(chance)
            except AssertionError as why:
                why.add_note(f"AVSLUICE_FUZZ_SEED={seed}, execution {runs}")
                raise
            runs += 1
    print(f"{runs} executions, seed {seed}")
    return runs


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    """The data in parts, often in single bytes."""
    parts = []
    while data:
        size = chance.choice((1, 1, 2, 3, chance.randrange(1, len(data) + 1)))
        parts.append(data[:size])
        data = data[size:]
    return parts


def spoil(chance: random.Random, data: bytes, words: list[bytes]) -> bytes:
    """Nearly the same: bits flipped, parts cut away, words put in, doubled or prolonged; now and then untouched."""
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + chance.choice(words) + data[at:]
            case 3:
                data = data[:at] + data[at + chance.randrange(4) :]
            case 4:
                data += data[at:]
            case _:
                data = data[:at] + chance.randbytes(chance.randrange(4)) + data[at:]
    return data
