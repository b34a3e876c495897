"""Why a mail is not what it seems: the rules by which two readers could see different parts.

Rules of this file: one rule, one name that stands in records; a rule names what readers are known to disagree about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

_MOST = 20


class Rule(StrEnum):
    """What makes a mail ambiguous, or too much to be read."""

    HEADER_LINE = "header-line"
    """A line of a header is neither a field, nor the rest of one: for some readers the body begins there."""
    HEADER_START = "header-start"
    """The mail begins with an empty or a folded line."""
    HEADER_END = "header-end"
    """The header is not ended by an empty line: by a line of blanks, or by the next boundary."""
    CONTROL_CHARACTER = "control-character"
    """A bare CR, NUL or another control character in a header."""
    LINE_ENDS = "line-ends"
    """CRLF and bare LF side by side, or a bare CR, where a header or a boundary begins or ends."""
    DUPLICATE_FIELD = "duplicate-field"
    """Content-Type, -Transfer-Encoding or MIME-Version twice, and not the same."""
    CONTENT_TYPE = "content-type"
    """Not of RFC 2045's grammar, or with comments."""
    DUPLICATE_PARAMETER = "duplicate-parameter"
    """A parameter of Content-Type twice, and not the same, or plain and by RFC 2231."""
    TRANSFER_ENCODING = "transfer-encoding"
    """Content-Transfer-Encoding is none of the five tokens, or has anything about it."""
    MIME_VERSION = "mime-version"
    """Absent although there are parts or encodings, or not 1.0."""
    BOUNDARY = "boundary"
    """Missing, empty, too long, escaped, folded, of odd characters, or by RFC 2231."""
    BOUNDARY_CLASH = "boundary-clash"
    """A boundary within which another begins, or that an enclosing part has, too."""
    BOUNDARY_LINE = "boundary-line"
    """A line that begins like a boundary, and is none; blanks behind one; other case."""
    NO_PART = "no-part"
    """A multipart without any boundary line."""
    NO_END = "no-end"
    """A multipart that is not closed."""
    AFTER_END = "after-end"
    """A boundary behind its own end."""
    HIDDEN_PART = "hidden-part"
    """Header fields of a part where no part is: before the first boundary, behind the last, in a report."""
    ENCODED_CONTAINER = "encoded-container"
    """A multipart or message in base64 or quoted-printable (forbidden by RFC 2045 6.4)."""
    FRAGMENT = "fragment"
    """message/partial or message/external-body: what it is lies elsewhere."""
    MESSAGE_TYPE = "message-type"
    """A message/ of a kind that we do not know; some readers open any."""
    CHARSET = "charset"
    """A multipart or message in a charset that is no superset of ASCII."""
    FILENAME = "filename"
    """Several names for a part, with different extensions."""
    BASE64 = "base64"
    """Other characters within base64, or padding before its end."""
    QUOTED_PRINTABLE = "quoted-printable"
    """An escape that is none."""
    SECOND_OPINION = "second-opinion"
    """The standard library's parser sees other parts."""
    LIMIT = "limit"
    """Deeper, of more parts or of longer headers than is read."""


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """One rule that a mail falls under. `part` as IMAP numbers it, "" for the mail itself."""

    rule: Rule
    part: str
    detail: str

    def __str__(self) -> str:
        place = f"part {self.part}" if self.part else "mail"
        return f"{self.rule} ({place}): {self.detail}"


@dataclass(slots=True)
class Findings:
    """Collects ambiguities; the first of each rule and part, and not endlessly many."""

    found: dict[tuple[Rule, str], Ambiguity] = field(default_factory=dict)

    def add(self, rule: Rule, part: str, detail: str) -> None:
        """One more."""
        if len(self.found) < _MOST or rule is Rule.LIMIT:
            self.found.setdefault((rule, part), Ambiguity(rule, part, detail))

    def __iter__(self) -> Iterator[Ambiguity]:
        return iter(self.found.values())

    def __len__(self) -> int:
        return len(self.found)
