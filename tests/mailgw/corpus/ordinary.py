"""Ordinary mails of many shapes, as clients, lists, servers and shops send them. No harm in any.

Rules of this file: CRLF; what a client is known to do, also where RFC 2045 would have it otherwise; nothing is random.
"""

from __future__ import annotations

import base64
import email.policy
import quopri
from collections.abc import Iterator
from email.header import Header
from email.message import EmailMessage
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

from scanners.specimens import GTUBE

_TEXTS = {
    "us-ascii": "Hello,\n\nthe minutes of Monday are attached.\n-- \nAnn\n",
    "utf-8": "Příliš žluťoučký kůň úpěl ďábelské ódy.\n\n> Größe – “quoted” …\n日本語 العربية עברית 🎉\n",
    "iso-8859-1": "Déjà vu à la carte, señor. Grüße aus München!\n",
    "iso-8859-2": "Příliš žluťoučký kůň úpěl ďábelské ódy.\n",
    "iso-8859-15": "Das kostet 15 € für Sie.\n",
    "windows-1250": "Žluťoučký kůň – „uvozovky“\n",
    "windows-1251": "Съешь же ещё этих мягких французских булок.\n",
    "windows-1252": "It’s “fine” – really…\n",
    "koi8-r": "Съешь же ещё этих мягких французских булок.\n",
    "iso-2022-jp": "これはテストです。\n会議は月曜日です。\n",
    "shift_jis": "これはテストです。\n",
    "euc-jp": "これはテストです。\n",
    "gb2312": "你好，附件是合同。\n",
    "gb18030": "你好，附件是合同。\n",
    "big5": "您好，附件是合約。\n",
    "euc-kr": "안녕하세요. 첨부 파일을 확인하세요.\n",
    "windows-1256": "مرحبا بالعالم\n",
    "windows-1255": "שלום עולם\n",
    "tis-620": "สวัสดีชาวโลก\n",
}
_PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n" + bytes(range(256)) * 40 + b"\n%%EOF\n"
_PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(255, -1, -1)) * 8
_HEAD = (
    b"Received: from mx.example.org (mx.example.org [192.0.2.1])\r\n"
    b"\tby mail.example.com (Postfix) with ESMTPS id 4AB\r\n"
    b"\tfor <b@example.com>; Mon, 5 Jan 2026 10:00:00 +0100 (CET)\r\n"
    b"Date: Mon, 5 Jan 2026 10:00:00 +0100\r\n"
)


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _raw(text: str) -> bytes:
    return _HEAD + _crlf(text.encode("utf-8", "surrogateescape"))


def _texts() -> Iterator[tuple[str, bytes]]:
    for charset, text in _TEXTS.items():
        data = _crlf(text.encode(charset))
        subject = Header(text.split(chr(10))[0], charset).encode()
        top = f"From: a@example.org\nTo: b@example.com\nSubject: {subject}\nMIME-Version: 1.0\n"
        kind = f"Content-Type: text/plain; charset={charset}\n"
        yield f"text-8bit-{charset}", _raw(f"{top}{kind}Content-Transfer-Encoding: 8bit\n\n") + data
        encoded = quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        yield f"text-qp-{charset}", _raw(f"{top}{kind}Content-Transfer-Encoding: quoted-printable\n\n") + encoded
        coded = base64.encodebytes(data).replace(b"\n", b"\r\n")
        yield (
            f"text-base64-{charset}",
            _raw(f'{top}Content-Type: text/plain;\n\tcharset="{charset}"\nContent-Transfer-Encoding: base64\n\n')
            + coded,
        )


def _modern() -> Iterator[tuple[str, bytes]]:
    for number, (charset, text) in enumerate(_TEXTS.items()):
        mail = EmailMessage(policy=email.policy.SMTP)
        mail["From"], mail["To"], mail["Subject"] = "Ann <a@example.org>", "b@example.com", text.split("\n")[0]
        mail.set_content(text, charset=charset)
        mail.add_alternative(
            f"<html><body><p style='color:red'>{text}</p><a href='https://example.org/?a=b&c=3D'>x</a></body></html>",
            subtype="html",
        )
        yield f"alternative-{charset}", mail.as_bytes()
        mail.add_attachment(_PDF, maintype="application", subtype="pdf", filename=f"příloha {number}.pdf")
        mail.add_attachment(text, filename="notes.txt")
        yield f"attachment-{charset}", mail.as_bytes()


def _legacy() -> Iterator[tuple[str, bytes]]:
    for number, name in enumerate(
        ("report.pdf", "Příloha č. 1.pdf", "契約書.pdf", "a;b.pdf", 'say "hi".pdf', "x" * 90 + ".pdf")
    ):
        for style in ("rfc2231", "rfc2047", "both", "raw"):
            mail = MIMEMultipart()
            mail["From"], mail["Subject"] = "a@example.org", "file"
            mail.attach(MIMEText("Hello.\n", "plain", "utf-8"))
            leaf = MIMEBase("application", "pdf")
            word = Header(name, "utf-8", maxlinelen=60).encode()
            if style in ("rfc2231", "both"):
                leaf.add_header("Content-Disposition", "attachment", filename=("utf-8", "", name))
            if style in ("rfc2047", "both"):
                leaf.set_param("name", word)
            if style == "rfc2047":
                leaf.add_header("Content-Disposition", "attachment", filename=word)
            leaf["Content-Transfer-Encoding"] = "base64"
            leaf.set_payload(base64.encodebytes(_PDF).decode())
            mail.attach(leaf)
            data = _crlf(mail.as_bytes())
            if style == "raw":
                quoted = name.replace("\\", "").replace('"', "'").encode()
                data = data.replace(
                    b"Content-Type: application/pdf", b'Content-Type: application/pdf; name="' + quoted + b'"'
                )
            yield f"name-{style}-{number}", data


_SHAPES = Path(__file__).parent / "shapes"


def _shapes() -> Iterator[tuple[str, bytes]]:
    coded = {
        "@PDF@": base64.encodebytes(_PDF).decode().rstrip("\n"),
        "@PNG@": base64.encodebytes(_PNG).decode().rstrip("\n"),
        "@ICS@": base64.encodebytes(b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n").decode().rstrip("\n"),
        "@GTUBE@": GTUBE[:20].decode(),
    }
    for file in sorted(_SHAPES.glob("*.eml")):
        name, shape = file.stem, file.read_text("utf-8")
        for mark, value in coded.items():
            shape = shape.replace(mark, value)
        yield name, _raw(shape)
        yield f"{name}-lf", _raw(shape).replace(b"\r\n", b"\n")


MAILS: dict[str, bytes] = {name: data for make in (_texts, _modern, _legacy, _shapes) for name, data in make()}
