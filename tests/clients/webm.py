"""A film in WebM (a profile of Matroska, RFC 9559), out of encoded frames: short to watch, long to fetch.

Rules of this file: each frame is a keyframe and a cluster of its own, listed in the cues, so that a player can jump
to it; filling that players skip makes the file as large as a test needs it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

EBML, SEGMENT, CLUSTER, CUES = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1C53BB6B
INFO, TRACKS, SEEK_HEAD = 0x1549A966, 0x1654AE6B, 0x114D9B74


def element(number: int, *content: bytes) -> bytes:
    """One element; its size is told in eight bytes, so that places can be known beforehand."""
    data = b"".join(content)
    return number.to_bytes((number.bit_length() + 7) // 8) + (len(data) | 1 << 56).to_bytes(8) + data


def number(name: int, value: int) -> bytes:
    """An unsigned integer, in eight bytes."""
    return element(name, value.to_bytes(8))


def film(frames: Sequence[bytes], filling: Sequence[bytes], *, width: int, height: int) -> bytes:
    """One VP8 frame a second; `filling[n]` lies behind frame n."""
    header = element(
        EBML, number(0x4286, 1), number(0x42F7, 1), number(0x42F2, 4), number(0x42F3, 8),
        element(0x4282, b"webm"), number(0x4287, 4), number(0x4285, 2),
    )  # fmt: skip
    duration = element(0x4489, struct.pack(">d", len(frames) * 1000.0))
    info = element(INFO, number(0x2AD7B1, 1_000_000), duration, element(0x4D80, b"test"), element(0x5741, b"test"))
    picture = element(0xE0, number(0xB0, width), number(0xBA, height))
    track = (number(0xD7, 1), number(0x73C5, 1), number(0x83, 1), element(0x86, b"V_VP8"), picture)
    tracks = element(TRACKS, element(0xAE, *track))
    clusters = [_cluster(second, frame, filling[second]) for second, frame in enumerate(frames)]
    first = len(_seek_head(0)) + len(info) + len(tracks)
    starts = [first + sum(map(len, clusters[:n])) for n in range(len(clusters))]
    cues = element(CUES, *(_cue(second, start) for second, start in enumerate(starts)))
    seek_head = _seek_head(first + sum(map(len, clusters)))
    return header + element(SEGMENT, seek_head, info, tracks, *clusters, cues)


def _seek_head(cues_at: int) -> bytes:
    return element(SEEK_HEAD, element(0x4DBB, element(0x53AB, CUES.to_bytes(4)), number(0x53AC, cues_at)))


def _cluster(second: int, frame: bytes, filling: bytes) -> bytes:
    block = element(0xA3, b"\x81\0\0\x80", frame)  # SimpleBlock: track 1, no delay, a keyframe
    return element(CLUSTER, number(0xE7, second * 1000), block, element(0xEC, filling))


def _cue(second: int, start: int) -> bytes:
    return element(0xBB, number(0xB3, second * 1000), element(0xB7, number(0xF7, 1), number(0xF1, start)))
