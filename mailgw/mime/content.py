"""What a part says it is: Content-Type, Content-Transfer-Encoding, its name.

Rules of this file: RFC 2045's grammar is strict, what departs from it is told; a guess is made all the same.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote_to_bytes

from mailgw.mime.header import Header
from mailgw.mime.rules import Findings, Rule

_TOKEN = rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
_TYPE = re.compile(rb"\s*(" + _TOKEN + rb")/(" + _TOKEN + rb")\s*")
_PARAMETER = re.compile(
    rb";\s*(?:(?P<name>" + _TOKEN + rb')=(?:"(?P<quoted>[^"\\]*(?:\\.[^"\\]*)*)"|(?P<plain>[^\s;"\\()]+)|)\s*)?',
    re.DOTALL,
)
# Some mailers neither quote a file's name nor stop at its blanks; no reader finds parts by it.
_LOOSE_NAME = re.compile(rb';\s*(?P<name>(?:file)?name)=(?P<plain>[^;"\\]*)', re.IGNORECASE)
_LENIENT_TYPE = re.compile(rb'[\s"]*(' + _TOKEN + rb")\s*/\s*(" + _TOKEN + rb")")
_LENIENT_BOUNDARY = re.compile(rb'boundary[\s*0]*=\s*(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)
_BOUNDARY = re.compile(rb"[\x20-\x21\x23-\x5b\x5d-\x7e]{0,69}[\x21\x23-\x5b\x5d-\x7e]")
_TSPECIALS = re.compile(rb'[()<>@,;:\\"/\[\]?=]')
_SPLIT_NAME = re.compile(r"(?P<name>[^*]+)\*(?:(?P<number>\d{1,3})(?P<coded>\*)?)?$")
_ENCODED_WORD = re.compile(rb"=\?[^?]*\?[bqBQ]\?")
_LONGEST_NAME = 4096
_LONGEST_FIELD = 16 * 1024
_MOST_PARAMETERS = 200
ENCODINGS = frozenset({b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable"})


@dataclass(slots=True)
class Parameters:
    """A value before the semicolon, and the parameters behind it (names in lower case, values raw)."""

    main: str
    values: dict[str, bytes] = field(default_factory=dict)
    unquoted: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    strict: bool = True

    def add(self, match: re.Match[bytes]) -> None:
        """One parameter as it was matched."""
        groups = match.groupdict()
        if not groups["name"]:
            return
        name = groups["name"].decode("ascii").lower()
        quoted = groups.get("quoted")
        value = quoted if quoted is not None else (groups["plain"] or b"").strip()
        if quoted is None:
            self.unquoted.add(name)
        if self.values.setdefault(name, value) != value:
            self.twice.add(name)


@dataclass(frozen=True, slots=True)
class Content:
    """What a part says of itself. `boundary` only of a multipart that has one; `encoding` in lower case."""

    type: str
    boundary: bytes | None
    charset: str
    encoding: str
    filename: str | None

    @property
    def is_multipart(self) -> bool:
        """True where parts are to be expected."""
        return self.type.startswith("multipart/")


def parse_parameters(value: bytes, *, typed: bool) -> Parameters:
    """`text/plain; a=b`, or with `typed` False `attachment; a=b`."""
    head = (_TYPE if typed else re.compile(rb"\s*(" + _TOKEN + rb")?\s*")).match(value)
    if head is None:
        return Parameters("", strict=False)
    main = head[0].strip().decode("ascii").lower()
    found, at = Parameters(main), head.end()
    while at < len(value):
        match = _PARAMETER.match(value, at)
        if match is None or (match.end() < len(value) and value[match.end() : match.end() + 1] != b";"):
            match = _LOOSE_NAME.match(value, at)
        if match is None:
            found.strict = False
            break
        found.add(match)
        at = match.end()
        if len(found.values) > _MOST_PARAMETERS:
            found.strict = False
            break
    return found


def read_content(header: Header, part: str, findings: Findings, default: str, *, last: bool = False) -> Content:
    """What the header says; of several fields the first counts, or with `last` the last one."""
    pick = -1 if last else 0
    if any(len(found.value) > _LONGEST_FIELD for found in header.fields if found.name.startswith("content-")):
        findings.add(Rule.LIMIT, part, f"a Content- field of more than {_LONGEST_FIELD} bytes")
    types, encodings = header.values("content-type"), header.values("content-transfer-encoding")
    dispositions = header.values("content-disposition")
    parameters = parse_parameters(types[pick][:_LONGEST_FIELD], typed=True) if types else Parameters(default)
    disposition = parse_parameters(dispositions[pick][:_LONGEST_FIELD], typed=False) if dispositions else Parameters("")
    if types and not parameters.strict:
        findings.add(Rule.CONTENT_TYPE, part, "not of the grammar of RFC 2045")
        parameters = _guess(types[pick][:_LONGEST_FIELD], parameters)
    kind = parameters.main or default
    if parameters.twice - {"name"}:
        findings.add(Rule.DUPLICATE_PARAMETER, part, "a parameter twice")
    boundary = _read_boundary(parameters, part, findings) if kind.startswith("multipart/") else None
    return Content(
        type=kind,
        boundary=boundary,
        charset=parameters.values.get("charset", b"").decode("ascii", "replace").lower(),
        encoding=_read_encoding(encodings[pick] if encodings else None, part, findings),
        filename=_read_filename(parameters, disposition, part, findings),
    )


def _guess(value: bytes, parameters: Parameters) -> Parameters:
    kind = _LENIENT_TYPE.match(value)
    if kind and not parameters.main:
        parameters.main = b"/".join(kind.groups()).decode("ascii").lower()
    boundary = _LENIENT_BOUNDARY.search(value)
    if boundary:
        parameters.values.setdefault("boundary", boundary[1] or boundary[2] or b"")
    return parameters


def _read_boundary(parameters: Parameters, part: str, findings: Findings) -> bytes | None:
    value = parameters.values.get("boundary")
    split = [name for name in parameters.values if name.startswith("boundary*")]
    if split:
        findings.add(Rule.BOUNDARY, part, "given by RFC 2231")
        value = value or _join_2231(parameters, "boundary")[0]
    if not value:
        findings.add(Rule.BOUNDARY, part, "missing or empty")
        return None
    odd = _TSPECIALS.search(value) if "boundary" in parameters.unquoted else None
    if odd or not _BOUNDARY.fullmatch(value) or _ENCODED_WORD.search(value):
        findings.add(Rule.BOUNDARY, part, "of odd characters, or too long")
    # What a reader makes of blanks at the end, RFC 2046 5.1.1: they are not the boundary's.
    return re.sub(rb"\r?\n", b"", value).rstrip(b" \t") or None


def _read_encoding(value: bytes | None, part: str, findings: Findings) -> str:
    if value is None:
        return "7bit"
    token = value.strip(b" \t")
    if token.lower() not in ENCODINGS:
        findings.add(Rule.TRANSFER_ENCODING, part, "none of the five of RFC 2045")
        word = re.search(_TOKEN, value)
        token = word[0] if word else b""
    return token.decode("ascii", "replace").lower()


def _read_filename(kind: Parameters, disposition: Parameters, part: str, findings: Findings) -> str | None:
    names = [
        name
        for parameters, key in ((disposition, "filename"), (kind, "name"))
        for name in (_decode_2231(parameters, key), _decode_words(parameters.values.get(key)))
        if name
    ]
    if len({_extension(name) for name in names}) > 1 or {"filename", "name"} & (disposition.twice | kind.twice):
        findings.add(Rule.FILENAME, part, "several names that differ")
    return names[0] if names else None


def _extension(name: str) -> str:
    return name.rpartition(".")[2].strip().lower() if "." in name else ""


def _decode_words(value: bytes | None) -> str | None:
    """RFC 2047 within quotes is forbidden, and what everybody does."""
    if value is None:
        return None
    text = re.sub(rb"\r?\n", b"", value[:_LONGEST_NAME])
    text = re.sub(rb"\\(.)", rb"\1", text)
    plain = text.decode("utf-8", "replace")
    if b"=?" not in text:
        return plain
    try:
        return str(make_header(decode_header(plain)))
    except (HeaderParseError, LookupError, ValueError, binascii.Error):
        return plain


def _join_2231(parameters: Parameters, key: str) -> tuple[bytes, bool]:
    """RFC 2231: the pieces of a split value, joined and decoded, and whether a charset stands before them."""
    pieces: dict[int, tuple[bytes, bool]] = {}
    for name, value in parameters.values.items():
        match = _SPLIT_NAME.match(name)
        if match and match["name"] == key:
            coded = match["number"] is None or match["coded"] is not None
            pieces[int(match["number"] or 0)] = (value, coded)
    ordered = [pieces[number] for number in sorted(pieces)]
    joined = b"".join(unquote_to_bytes(value) if coded else value for value, coded in ordered)
    return joined[:_LONGEST_NAME], bool(ordered and ordered[0][1])


def _decode_2231(parameters: Parameters, key: str) -> str | None:
    joined, coded = _join_2231(parameters, key)
    if not coded:
        return joined.decode("utf-8", "replace") or None
    charset, _, rest = joined.partition(b"'")
    text = rest.partition(b"'")[2]
    try:
        return text.decode(charset.decode("ascii", "replace") or "utf-8", "replace")
    except (LookupError, ValueError):
        return text.decode("utf-8", "replace")
