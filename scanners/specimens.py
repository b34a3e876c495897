"""The harmless test viruses every engine knows.

Rule of this file: the strings are put together at run time, lest an antivirus on this very machine take our
own files, source or compiled, for infected.
"""

from __future__ import annotations

EICAR = b"".join((rb"X5O!P%@AP[4\PZX54(P^)7CC)7}", b"$EICAR-STANDARD-", b"ANTIVIRUS-TEST-FILE!$H+H*"))
"""The 68 bytes of the EICAR Anti-Virus Test File."""

GTUBE = b"".join((b"XJS*C4JDBQADN1.NSBN3*2IDNEN*", b"GTUBE-STANDARD-ANTI-", b"UBE-TEST-EMAIL*C.34X"))
"""The Generic Test for Unsolicited Bulk Email (SpamAssassin)."""
