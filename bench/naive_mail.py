"""The relay that one would write first: aiosmtpd takes a mail, clamd is asked by INSTREAM, aiosmtplib sends it on.

    python naive_mail.py PORT NEXT_HOP_PORT CLAMD_SOCKET

Rules of this file: nobody spent time on its speed, nor on its faults; the benchmarks measure it beside Sluice.
"""

from __future__ import annotations

import asyncio
import sys

import aiosmtplib
from aiosmtpd.smtp import SMTP, Envelope, Session

_PIECE = 64 * 1024


class Relay:
    """One clamd session and one connection to the next hop for every mail."""

    def __init__(self, next_hop: int, clamd: str) -> None:
        self._next_hop, self._clamd = next_hop, clamd

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: the answer to a mail."""
        content = envelope.content
        if not isinstance(content, bytes):
            return "451 4.3.0 no octets"
        answer = await self._scan(content)
        if b"FOUND" in answer:
            return "554 5.7.1 virus found"
        if not answer.endswith(b"OK\0"):
            return "451 4.7.1 not checked"
        _, word = await aiosmtplib.send(
            content,
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            hostname="127.0.0.1",
            port=self._next_hop,
            start_tls=False,
        )
        return f"250 {word}"

    async def _scan(self, content: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._clamd)
        writer.write(b"zINSTREAM\0")
        for at in range(0, len(content), _PIECE):
            piece = content[at : at + _PIECE]
            writer.write(len(piece).to_bytes(4) + piece)
        writer.write(bytes(4))
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


async def serve(port: int, next_hop: int, clamd: str) -> None:
    """Until the process is ended."""
    relay, loop = Relay(next_hop, clamd), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(relay, hostname="naive.example.org", data_size_limit=1 << 30, loop=loop), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
