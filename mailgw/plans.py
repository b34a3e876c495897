"""How a mail's documents give way: ways to do it, the mildest first, for who checks each result again.

Rules of this file: an ambiguous mail is one document from the start; SMTP's mails get new lengths, stored mails keep
every length, line end and header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from inspection.spool import Spool, SpoolRoom
from mailgw.envelope import Envelope
from mailgw.mime.mask import Cover, cover_document, mask_mail
from mailgw.mime.reader import Document, Mail
from mailgw.mime.rules import Rule
from mailgw.outcome import MailOutcome
from mailgw.replacement import Change, Edits, fill_in, rewrite
from policy.decision import Action, MailDecision
from scanners.engine import Body

_BLURRED = frozenset(
    {
        *(Rule.HEADER_LINE, Rule.HEADER_START, Rule.HEADER_END, Rule.CONTROL_CHARACTER, Rule.LINE_ENDS),
        *(Rule.HIDDEN_PART, Rule.FRAGMENT, Rule.LIMIT),
    }
)
_SIGNED = frozenset({"multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"})
_SIGNATURE_BROKEN = "\nThis was signed. The signature is not valid any more, because of what was removed here.\n"
_EMPTY_LINE = 2  # octets
_LONGEST_TEXT = 1 << 20  # characters of a replacement's file


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a mail's documents lie. `top` is the offset behind its header, `encoding` that of the body under it.
    `blurred`: some reader may take a part of the header for content. `signed`: the mail's offsets from where to where
    something is signed (DKIM, OpenPGP/MIME, S/MIME)."""

    leaves: Sequence[Document]
    top: int
    encoding: str
    ambiguous: bool
    blurred: bool
    signed: Sequence[tuple[int, int]] = ()


def find_layout(division: Mail) -> Layout:
    """Of a mail as it was read."""
    root = division.parts[0] if division.parts else None
    header = root.body if root else 0
    return Layout(
        leaves=division.leaves,
        top=header,
        encoding=root.content.encoding if root and root.is_leaf else "7bit",
        ambiguous=division.ambiguous,
        # Of a header that is an empty line nothing can be taken for anything.
        blurred=header != _EMPTY_LINE and any(found.rule in _BLURRED for found in division.ambiguities),
        signed=[
            (part.start, part.end)
            for part in division.parts
            if part.content.type in _SIGNED or (part is root and part.header.values("dkim-signature"))
        ],
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """`write` gives the pieces of the changed mail. `replaces`: documents give way, so that it is to be checked.
    `whole`: nothing of the body is left, the header is as it was."""

    write: Callable[[], Iterator[bytes]]
    replaces: bool = True
    whole: bool = False

    def lay_out(self, room: SpoolRoom) -> Spool:
        """The changed mail in a spool of its own. Raises SpoolFull, OSError."""
        form = room.open()
        try:
            for piece in self.write():
                form.append(piece)
        except BaseException:
            form.close()
            raise
        form.finish()
        return form


def plan_rewrites(
    mail: Body, decision: MailDecision, layout: Layout, texts: Sequence[str], fields: Mapping[str, str]
) -> Iterator[Plan]:
    """What the policy says; then all leaves; then the whole body."""
    prefix = decision.prefix_subject
    chosen = _chosen(decision)
    if not chosen:
        yield Plan(partial(rewrite, mail, Edits(top=layout.top, prefix=prefix)), replaces=False)
        return

    def plan(changes: Sequence[Change]) -> Plan:
        return Plan(partial(rewrite, mail, Edits(top=layout.top, changes=changes, fields=fields, prefix=prefix)))

    if not layout.ambiguous:
        every = [
            Change(d.start, d.body, d.end, _tell_signed(text, layout, d.start))
            for d, text in zip(layout.leaves, texts, strict=True)
        ]
        yield plan([every[n] for n in chosen])
        yield plan(every)
    yield plan([Change(0, layout.top, mail.size, _tell_signed(texts[chosen[0]], layout), strict=True)])


def _tell_signed(text: str, layout: Layout, start: int | None = None) -> str:
    """The text, and that a signature breaks by it; without `start` it takes the place of everything."""
    broken = any(start is None or begin <= start < end for begin, end in layout.signed)
    return text.rstrip("\r\n") + "\n" + _SIGNATURE_BROKEN if broken else text


def plan_masks(mail: Body, decision: MailDecision, layout: Layout, texts: Sequence[str]) -> Iterator[Plan]:
    """The same, by covering in place."""
    chosen = _chosen(decision)
    if not layout.ambiguous:
        every = [cover_document(d, text) for d, text in zip(layout.leaves, texts, strict=True)]
        yield Plan(partial(mask_mail, mail, [every[n] for n in chosen]))
        yield Plan(partial(mask_mail, mail, every))
    if layout.top:  # else nobody knows where the header ends, which is to stay
        cover = Cover(layout.top, mail.size, layout.encoding, texts[chosen[0]])
        yield Plan(partial(mask_mail, mail, [cover]), whole=True)


def _chosen(decision: MailDecision) -> list[int]:
    return [n for n, d in enumerate(decision.documents) if d.action is Action.REPLACE]


def read_templates(decision: MailDecision) -> dict[int, str]:
    """By the document's number, the text that takes its place. Raises OSError."""
    texts: dict[int, str] = {}
    for number, document in enumerate(decision.documents):
        if document.action is Action.REPLACE and document.replace is not None:
            with document.replace.open(encoding="utf-8", errors="replace") as file:
                texts[number] = file.read(_LONGEST_TEXT)
    return texts


def fill_texts(envelope: Envelope, outcome: MailOutcome, templates: Mapping[int, str]) -> list[str]:
    """For each document what would take its place; where the policy has none, another one's."""
    usual = next(iter(templates.values()), "")
    texts = []
    for number, entry in enumerate(outcome.documents):
        values = {
            "virus": entry.virus or outcome.virus or "-",
            "status": str(entry.status),
            "filename": entry.filename or "-",
            "antivirus": ", ".join(envelope.engines or ()),
            "id": envelope.id,
        }
        texts.append(fill_in(templates.get(number, usual), values))
    return texts
