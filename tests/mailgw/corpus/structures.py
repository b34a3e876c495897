"""Mails around a part: honest structures, and those about which readers disagree.

Rules of this file: a structure takes the part's fields (Content-Type first) and its body, and gives a whole mail.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

TOP = b"From: a@example.org\r\nTo: b@example.com\r\nSubject: a mail\r\nMIME-Version: 1.0\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n"


def single(fields: bytes, body: bytes) -> bytes:
    return TOP + fields + b"\r\n\r\n" + body + b"\r\n"


def part(fields: bytes, body: bytes) -> bytes:
    return fields + b"\r\n\r\n" + body + b"\r\n"


def multipart(kind: bytes, boundary: bytes, *parts: bytes, fields: bytes = b"") -> bytes:
    head = b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n' + fields + b"\r\n"
    return head + b"".join(b"--" + boundary + b"\r\n" + each for each in parts) + b"--" + boundary + b"--\r\n"


def mixed(fields: bytes, body: bytes) -> bytes:
    return TOP + multipart(b"mixed", b"b1", TEXT, part(fields, body))


def mixed_first(fields: bytes, body: bytes) -> bytes:
    return TOP + multipart(b"mixed", b"=_b1:2/3", part(fields, body), TEXT)


def nested(fields: bytes, body: bytes) -> bytes:
    inner = multipart(b"related", b"in", TEXT, part(fields, body))
    return TOP + multipart(b"mixed", b"out", multipart(b"alternative", b"mid", TEXT, inner), TEXT)


def attached(fields: bytes, body: bytes) -> bytes:
    return TOP + multipart(b"mixed", b"o", TEXT, b"Content-Type: message/rfc822\r\n\r\n" + mixed(fields, body))


def attached_single(fields: bytes, body: bytes) -> bytes:
    return TOP + b"Content-Type: message/rfc822\r\n\r\n" + single(fields, body)


def attached_deep(fields: bytes, body: bytes) -> bytes:
    return TOP + b"Content-Type: message/rfc822\r\n\r\n" + attached(fields, body)


def digest(fields: bytes, body: bytes) -> bytes:
    return TOP + multipart(b"digest", b"d", b"\r\n" + single(fields, body), b"\r\n" + TOP + TEXT)


def signed(fields: bytes, body: bytes) -> bytes:
    signature = b"Content-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n"
    return TOP + multipart(b"signed", b"s", part(fields, body), signature)


def report(fields: bytes, body: bytes) -> bytes:
    status = b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\nAction: failed\r\n"
    return TOP + multipart(
        b"report", b"r", TEXT, status, b"Content-Type: message/rfc822\r\n\r\n" + single(fields, body)
    )


HONEST: dict[str, Callable[[bytes, bytes], bytes]] = {
    function.__name__: function
    for function in (
        *(single, mixed, mixed_first, nested, attached, attached_single, attached_deep, digest, signed, report),
    )
}


def _top(content_type: bytes, rest: bytes) -> bytes:
    return TOP + content_type + b"\r\n\r\n" + rest


def _change(old: bytes, new: bytes) -> Callable[[bytes, bytes], bytes]:
    def change(fields: bytes, body: bytes) -> bytes:
        mail = mixed(fields, body)
        if old not in mail:
            raise ValueError(old)
        return mail.replace(old, new, 1)

    return change


def _body(fields: bytes, body: bytes, boundary: bytes = b"b1") -> bytes:
    return multipart(b"mixed", boundary, TEXT, part(fields, body)).partition(b"\r\n\r\n")[2]


def _typed(content_type: bytes, boundary: bytes = b"b1") -> Callable[[bytes, bytes], bytes]:
    return lambda fields, body: _top(content_type, _body(fields, body, boundary))


_MIXED = b'Content-Type: multipart/mixed; boundary="b1"'


def _encoded_multipart(fields: bytes, body: bytes) -> bytes:
    encoded = base64.encodebytes(_body(fields, body)).replace(b"\n", b"\r\n")
    return _top(_MIXED + b"\r\nContent-Transfer-Encoding: base64", encoded)


def _encoded_message(fields: bytes, body: bytes) -> bytes:
    encoded = base64.encodebytes(mixed(fields, body)).replace(b"\n", b"\r\n")
    return _top(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", encoded)


def _in_report(fields: bytes, body: bytes) -> bytes:
    return TOP + multipart(
        b"mixed", b"o", TEXT, b"Content-Type: message/disposition-notification\r\n\r\n" + part(fields, body)
    )


def _preamble(fields: bytes, body: bytes) -> bytes:
    return _top(_MIXED, part(fields, body) + _body(b"X-A: b", b"nothing"))


def _epilogue(fields: bytes, body: bytes) -> bytes:
    return mixed(b"X-A: b", b"nothing") + b"\r\n" + part(fields, body)


def _after_end(fields: bytes, body: bytes) -> bytes:
    return mixed(b"X-A: b", b"nothing") + b"--b1\r\n" + part(fields, body) + b"--b1--\r\n"


def _same_boundary(fields: bytes, body: bytes) -> bytes:
    return TOP + multipart(b"mixed", b"b1", TEXT, multipart(b"mixed", b"b1", part(fields, body)))


def _prefix_boundary(fields: bytes, body: bytes) -> bytes:
    return TOP + multipart(b"mixed", b"b1", TEXT, multipart(b"mixed", b"b12", part(fields, body)))


def _inner_open(fields: bytes, body: bytes) -> bytes:
    inner = multipart(b"mixed", b"in", part(fields, body)).removesuffix(b"--in--\r\n")
    return TOP + multipart(b"mixed", b"out", TEXT, inner)


ODD: dict[str, Callable[[bytes, bytes], bytes]] = {
    "boundary-twice": _typed(b"Content-Type: multipart/mixed; boundary=b0; boundary=b1"),
    "boundary-twice-first": _typed(b"Content-Type: multipart/mixed; boundary=b1; boundary=b0"),
    "boundary-2231": _typed(b"Content-Type: multipart/mixed; boundary*=us-ascii''b1"),
    "boundary-split": _typed(b"Content-Type: multipart/mixed; boundary*0=b; boundary*1=1"),
    "boundary-both": _typed(b"Content-Type: multipart/mixed; boundary=b0; boundary*=''b1"),
    "boundary-empty": _typed(b'Content-Type: multipart/mixed; boundary=""', b""),
    "boundary-missing": _typed(b"Content-Type: multipart/mixed"),
    "boundary-spaced": _typed(b"Content-Type: multipart/mixed; boundary = b1"),
    "boundary-comment": _typed(b"Content-Type: multipart/mixed; boundary=b1 (it is)"),
    "boundary-comment-first": _typed(b"Content-Type: multipart/mixed; (boundary=b0) boundary=b1"),
    "boundary-escaped": _typed(b'Content-Type: multipart/mixed; boundary="b\\1"'),
    "boundary-unclosed": _typed(b'Content-Type: multipart/mixed; boundary="b1'),
    "boundary-half-quoted": _typed(b'Content-Type: multipart/mixed; boundary="b"1'),
    "boundary-single-quoted": _typed(b"Content-Type: multipart/mixed; boundary='b1'"),
    "boundary-folded": _typed(b'Content-Type: multipart/mixed; boundary="b\r\n 1"', b"b 1"),
    "boundary-blank-end": _typed(b'Content-Type: multipart/mixed; boundary="b1 "'),
    "boundary-8bit": _typed(b'Content-Type: multipart/mixed; boundary="b\xe9"', b"b\xe9"),
    "boundary-word": _typed(b'Content-Type: multipart/mixed; boundary="=?us-ascii?q?b1?="'),
    "boundary-long": _typed(b'Content-Type: multipart/mixed; boundary="' + b"b" * 80 + b'"', b"b" * 80),
    "boundary-very-long": _typed(b'Content-Type: multipart/mixed; boundary="' + b"b" * 3000 + b'"', b"b" * 3000),
    "boundary-nul": _typed(b'Content-Type: multipart/mixed; boundary="b1\0x"'),
    "boundary-unquoted": _typed(b"Content-Type: multipart/mixed; boundary=b/1?", b"b/1?"),
    "type-comment": _typed(b"Content-Type: multipart/mixed (parts); boundary=b1"),
    "type-spaced": _typed(b"Content-Type : multipart/mixed; boundary=b1"),
    "type-slash-spaced": _typed(b"Content-Type: multipart / mixed; boundary=b1"),
    "type-no-semicolon": _typed(b"Content-Type: multipart/mixed boundary=b1"),
    "type-comma": _typed(b"Content-Type: multipart/mixed, boundary=b1"),
    "type-quoted": _typed(b'Content-Type: "multipart/mixed"; boundary=b1'),
    "type-nul": _typed(b"Content-Type: multipart/mixed\0; boundary=b1"),
    "type-cr": _typed(b"Content-Type: text/plain\rContent-Type: multipart/mixed; boundary=b1"),
    "type-lf": _typed(b"Content-Type: text/plain\nX-A: b\r\nContent-Type: multipart/mixed; boundary=b1"),
    "type-twice": _typed(b"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b1"),
    "type-twice-last": _typed(b"Content-Type: multipart/mixed; boundary=b1\r\nContent-Type: text/plain"),
    "type-utf-16": _typed(b"Content-Type: multipart/mixed; charset=utf-16; boundary=b1"),
    "no-subtype": _typed(b"Content-Type: multipart; boundary=b1"),
    "message-partial": lambda fields, body: _top(
        b"Content-Type: message/partial; id=a; number=1; total=1", single(fields, body)
    ),
    "external-body": lambda fields, body: _top(
        b'Content-Type: message/external-body; access-type=URL; URL="http://a"', part(fields, body)
    ),
    "message-unknown": lambda fields, body: _top(b"Content-Type: message/x-mail", single(fields, body)),
    "encoded-multipart": _encoded_multipart,
    "encoded-message": _encoded_message,
    "in-report": _in_report,
    "preamble": _preamble,
    "epilogue": _epilogue,
    "after-end": _after_end,
    "same-boundary": _same_boundary,
    "prefix-boundary": _prefix_boundary,
    "inner-open": _inner_open,
    "no-end": _change(b"--b1--\r\n", b""),
    "no-mime-version": _change(b"MIME-Version: 1.0\r\n", b""),
    "mime-version-2": _change(b"MIME-Version: 1.0", b"MIME-Version: 2.0"),
    "mime-version-twice": _change(b"MIME-Version: 1.0", b"MIME-Version: 1.0\r\nMIME-Version: 1.1"),
    "blanks-behind": _change(b"\r\n--b1\r\nContent", b"\r\n--b1 \t\r\nContent"),
    "text-behind": _change(b"Hello.\r\n--b1\r\n", b"Hello.\r\n--b1 text\r\n"),
    "upper-case": _change(b"Hello.\r\n--b1\r\n", b"Hello.\r\n--B1\r\n"),
    "end-and-more": _change(b"Hello.\r\n--b1\r\n", b"Hello.\r\n--b1--x\r\n"),
    "bare-lf-before": _change(b"Hello.\r\n--b1\r\n", b"Hello.\n--b1\r\n"),
    "bare-cr-before": _change(b"Hello.\r\n--b1\r\n", b"Hello.\r--b1\r\n"),
    "bare-lf-behind": _change(b"Hello.\r\n--b1\r\n", b"Hello.\r\n--b1\n"),
    "bare-cr-behind": _change(b"Hello.\r\n--b1\r\n", b"Hello.\r\n--b1\r"),
    "header-line": _change(b"Subject: a mail\r\n", b"Subject: a mail\r\na line\r\n"),
    "header-colon": _change(b"Subject: a mail\r\n", b"Subject: a mail\r\n: nothing\r\n"),
    "blank-line": _change(b"Subject: a mail\r\n", b"Subject: a mail\r\n  \r\n"),
    "empty-line-first": lambda fields, body: b"\r\n" + mixed(fields, body),
    "folded-first": lambda fields, body: b" folded\r\n" + mixed(fields, body),
    "from-first": lambda fields, body: b"From a@example.org Thu Jan  1 00:00:00 1970\r\n" + mixed(fields, body),
    "byte-order-mark": lambda fields, body: b"\xef\xbb\xbf" + mixed(fields, body),
    "nul-in-header": _change(b"Subject: a mail\r\n", b"Subject: a\0 mail\r\n"),
    "cr-separators": lambda fields, body: mixed(fields, body).replace(b"\r\n", b"\r"),
    "header-lf": _change(b"Subject: a mail\r\n", b"Subject: a mail\n"),
    "part-without-empty-line": _change(b"charset=utf-8\r\n\r\nHello.\r\n", b"charset=utf-8\r\n"),
}
"""Readers disagree: the mail is ambiguous, whatever the part's encoding."""
