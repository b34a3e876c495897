"""The certificates a server must show.

Rule of this file: nothing is weaker than the policy says.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def make_context(ca: Path | None, *, verify: bool) -> ssl.SSLContext:
    """For `icap` over TLS. `ca`: a PEM file to trust in place of the system's authorities; `verify` False: any
    certificate will do. OSError where the file cannot be used."""
    context = ssl.create_default_context(cafile=ca)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
