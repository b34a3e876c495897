"""What became of a mail's check, and the memory of it.

Rules of this file: errors are never remembered; a new version of an engine, or the policy's time for clean objects,
ends a memory; numbers are bounded.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailgw.imap.masking import MaskedMail
from policy.verdict import ScanReport

_VALIDITY = re.compile(rb"\* OK \[UIDVALIDITY (\d{1,10})\]", re.IGNORECASE)
_NOT_STICKY = re.compile(rb"\* NO \[UIDNOTSTICKY\]", re.IGNORECASE)
MOST_MASKED = 256  # covered mails that one session holds


class Fate(StrEnum):
    """What happens to a mail's contents."""

    PASS = "pass"  # noqa: S105 - no password
    MASK = "mask"
    DENY = "deny"
    DEFER = "defer"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`sha256` is of the octets that were checked. `text` is for the client where it does not pass; `mail` where
    something of it is covered."""

    fate: Fate
    sha256: str = ""
    text: str = ""
    mail: MaskedMail | None = None


@dataclass(frozen=True, slots=True)
class Mailbox:
    """What a session has selected. `validity` None: the server did not say, and UIDs mean nothing elsewhere."""

    name: bytes
    validity: int | None = None


def read_mailbox(name: bytes, said: Sequence[bytes]) -> Mailbox:
    """What was selected, by its name and by the untagged lines that the server said to it."""
    found = [match for match in map(_VALIDITY.match, said) if match]
    sticky = not any(_NOT_STICKY.match(line) for line in said)
    return Mailbox(b"INBOX" if name.upper() == b"INBOX" else name, int(found[-1][1]) if found and sticky else None)


class VerdictMemory:
    """Of one loaded policy, for all sessions: what needs no mail at hand. `seconds` 0 is off."""

    def __init__(self, seconds: float, entries: int) -> None:
        self.generation = 0
        self._seconds, self._entries = seconds, entries
        self._verdicts: OrderedDict[Hashable, tuple[float, Verdict]] = OrderedDict()
        self._versions: dict[tuple[str, str], str] = {}

    def recall(self, key: Hashable) -> Verdict | None:
        """The verdict, if it still holds."""
        found = self._verdicts.get(key)
        if found is None or found[0] < time.monotonic():
            return None
        return found[1]

    def remember(self, key: Hashable, verdict: Verdict) -> None:
        """Keep it for a while."""
        self._verdicts[key] = time.monotonic() + self._seconds, verdict
        self._verdicts.move_to_end(key)
        if len(self._verdicts) > self._entries:
            self._verdicts.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """It does not hold."""
        self._verdicts.pop(key, None)

    def notice_versions(self, reports: Iterable[ScanReport]) -> None:
        """Forget everything once an engine tells another version than before."""
        for report in reports:
            known = self._versions.setdefault((report.antivirus, report.protocol), report.version)
            if report.version and known != report.version:
                self._versions[report.antivirus, report.protocol] = report.version
                self._verdicts.clear()
                self.generation += 1


class MaskedShelf:
    """The covered mails of one session, the latest ones; it closes what it lets go. `generation` is the memory's."""

    def __init__(self) -> None:
        self._verdicts: OrderedDict[tuple[Hashable, int], Verdict] = OrderedDict()

    def recall(self, key: Hashable, generation: int) -> Verdict | None:
        """The verdict, with its mail."""
        found = self._verdicts.get((key, generation))
        if found is not None:
            self._verdicts.move_to_end((key, generation))
        return found

    def put(self, key: Hashable, generation: int, verdict: Verdict) -> None:
        """Keep it; the oldest goes where there are too many."""
        self._drop(self._verdicts.pop((key, generation), None))
        self._verdicts[key, generation] = verdict
        if len(self._verdicts) > MOST_MASKED:
            self._drop(self._verdicts.popitem(last=False)[1])

    def close(self) -> None:
        """All are let go."""
        for verdict in self._verdicts.values():
            self._drop(verdict)
        self._verdicts.clear()

    @staticmethod
    def _drop(verdict: Verdict | None) -> None:
        if verdict is not None and verdict.mail is not None:
            verdict.mail.close()
