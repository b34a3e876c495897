"""The chapter's two variants, 15.5 and 15.6, from its own policy file: a real clamd, a real Postfix, raw octets."""

from __future__ import annotations

import binascii
import contextlib
import json
import re
import shutil
import signal
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from scanners.specimens import EICAR
from tests.http.proxy import ROOT
from tests.real.clamd_server import ClamdServer, run_clamd
from tests.real.postfix_server import PostfixServer
from tests.smtp.conftest import RunSmtp, Wire, queued

pytestmark = [pytest.mark.postfix, pytest.mark.clamd]

TOP = b"Message-ID: <1@example.org>\r\nFrom: a@example.org\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
MIXED = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n'
SIBLING = b"--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n  \xc3\xa4 ..dots  \r\n\r\n-- \r\nme\r\n"


def attach(data: bytes, name: bytes = b"a.com") -> bytes:
    """A part in base64."""
    coded = b"\r\n".join(re.findall(rb".{1,76}", b64encode(data)))
    head = b"--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
    return head + b"Content-Disposition: attachment; filename=" + name + b"\r\n\r\n" + coded + b"\r\n"


def mixed(*parts: bytes, subject: bytes = b"Subject: hello\r\n") -> bytes:
    """A mail of several parts, as it stands between DATA and the final dot but for its dots."""
    return TOP + subject + MIXED + b"".join(parts) + b"--x--\r\nepilogue\r\n"


@pytest.fixture(scope="module")
def engine() -> Iterator[ClamdServer]:
    """A clamd that these tests may end."""
    with run_clamd() as server:
        yield server


def run_variant(home: Path, name: str, engine: ClamdServer, postfix: PostfixServer, timeout: str) -> RunSmtp:
    """The chapter's policy as it ships, but for its addresses and how soon an engine is looked after again."""
    text = (ROOT / "examples/chapter/policy.yaml").read_text()
    text = text.replace(
        "address: 127.0.0.1:3310", f"address: {engine.tcp}\n    canary: 500ms\n    timeout: {timeout}", 1
    )
    text = re.sub(r"listen: 127\.0\.0\.1:\d+", "listen: 127.0.0.1:0", text)
    if name == "SMTP":  # where Postfix's smtpd_proxy_filter looks for it
        text = re.sub(r"(  SMTP:.*\n    listen: 127\.0\.0\.1:)0", rf"\g<1>{postfix.filter_port}", text)
    text = text.replace("server: 127.0.0.1:25", f"server: 127.0.0.1:{postfix.port}").replace("enabled: false", "")
    for file in ("replaced-infected.txt", "replaced-unscanned.txt"):
        shutil.copy(ROOT / "examples/chapter" / file, home)
    (home / "quarantine").mkdir(mode=0o700)
    (home / "policy.yaml").write_text(text)
    return RunSmtp(home / "policy.yaml", home, "--only", f"smtp-proxy.{name}")


@pytest.fixture(scope="module")
def discarding(
    engine: ClamdServer, postfix: PostfixServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunSmtp]:
    """15.5."""
    with run_variant(tmp_path_factory.mktemp("smtp"), "SMTP", engine, postfix, "20s") as run:
        yield run


@pytest.fixture(scope="module")
def replacing(
    engine: ClamdServer, postfix: PostfixServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunSmtp]:
    """15.6."""
    with run_variant(tmp_path_factory.mktemp("smtp"), "SMTP-2", engine, postfix, "2s") as run:
        yield run


def send(run: RunSmtp, mail: bytes) -> bytes:
    """The gateway's final reply."""
    return send_to(run.port, mail)


def send_to(port: int, mail: bytes) -> bytes:
    """The final reply of who listens there."""
    with contextlib.closing(Wire(port)) as client:
        return client.mail(re.sub(rb"(?m)^\.", b"..", mail))


def kept(run: RunSmtp) -> dict[str, bytes]:
    """The quarantine's entries."""
    return {file.stem: file.read_bytes() for file in (run.directory / "quarantine").glob("*.data")}


def lines(mail: bytes) -> bytes:
    """As Postfix stores it."""
    return mail.replace(b"\r\n", b"\n")


def decoded(mail: bytes) -> list[str]:
    """The notices in a delivered mail."""
    head = rb"charset=utf-8\nContent-Transfer-Encoding: base64\n(?:.+\n)*\n"
    return [b64decode(text).decode() for text in re.findall(head + rb"([A-Za-z0-9+/=\n]+)", mail)]


# --- 15.5


@pytest.mark.parametrize(
    "mail",
    [
        mixed(SIBLING, attach(EICAR)),
        TOP + b"Subject: s\r\n\r\n" + EICAR + b"\r\n",
        # Skipped: larger than max-checked-size, 1 MiB. Unknown: readers could take it in two ways.
        mixed(SIBLING, attach(bytes(range(256)) * 4097)),
        TOP + b"Content-Type: text/plain\r\n" + MIXED + SIBLING + b"--x--\r\n",
    ],
    ids=["found", "found in the text", "skipped", "unknown"],
)
def test_what_is_not_free_is_discarded_and_kept(mail: bytes, discarding: RunSmtp, postfix: PostfixServer) -> None:
    """250 with an id, nothing at the next hop, the octets that came in the quarantine, with their envelope."""
    before, had = postfix.held(), kept(discarding)
    reply = send(discarding, mail)
    assert reply.startswith(b"250 2.0.0 accepted, id ")
    name = reply.split()[-1].decode()
    assert postfix.held() == before
    new = {entry: data for entry, data in kept(discarding).items() if entry not in had}
    assert new == {name: mail}
    metadata = json.loads((discarding.directory / "quarantine" / f"{name}.json").read_text())
    assert (metadata["sender"], metadata["recipients"]) == ("a@example.org", ["b@example.com"])
    assert (discarding.directory / "quarantine" / f"{name}.data").stat().st_mode & 0o777 == 0o600
    record = discarding.wait_until(
        lambda: next((r for r in tuple(discarding.records) if r["id"] == name), None), "a record"
    )
    assert (record["action"], record["quarantine"], record["direction"]) == ("discard", name, "upload")


def test_an_engine_that_is_down_defers_and_the_retry_is_delivered(
    discarding: RunSmtp, postfix: PostfixServer, engine: ClamdServer
) -> None:
    """451 while clamd is dead, nothing kept, nothing sent on; once it is back the same mail passes, octet for octet."""
    mail = mixed(SIBLING, attach(b"retry"))
    before, had = postfix.held(), kept(discarding)
    engine.signal(signal.SIGKILL)
    try:
        assert send(discarding, mail).startswith(b"451 4.7.1 not accepted: error, id ")
        assert (postfix.held(), kept(discarding)) == (before, had)
    finally:
        engine.start()
    reply = retry(discarding, mail)
    assert postfix.content(queued(reply)) == lines(mail)
    assert kept(discarding) == had


def retry(run: RunSmtp, mail: bytes) -> bytes:
    """As a client does: until it is something else than 451."""
    for _ in range(50):
        if not (reply := send(run, mail)).startswith(b"451"):
            return reply
        time.sleep(0.2)  # as a client in a hurry does
    raise AssertionError(reply)


def test_a_large_clean_mail_passes(discarding: RunSmtp, postfix: PostfixServer) -> None:
    """25 MB of parts that are each below max-checked-size: the raw mail's `skipped` is no hindrance."""
    part = attach(bytes(range(256)) * 4000)
    mail = mixed(SIBLING, *[part] * 18)
    assert len(mail) > 25_000_000
    assert postfix.content(queued(send(discarding, mail))) == lines(mail)


@pytest.fixture(scope="module")
def dkim_key() -> bytes:
    """A private key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pkcs1 = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, pkcs1, serialization.NoEncryption())


def publish(key: bytes) -> bytes:
    """What the signer's DNS would say."""
    private = serialization.load_pem_private_key(key, None)
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return b"v=DKIM1; k=rsa; p=" + b64encode(public)


@pytest.mark.parametrize("canonical", [b"simple", b"relaxed"])
def test_a_dkim_signature_is_valid_behind_the_gateway(
    canonical: bytes, discarding: RunSmtp, postfix: PostfixServer, dkim_key: bytes
) -> None:
    """Signed before, verified in Postfix's queue; and with one octet changed it is not."""
    mail = mixed(SIBLING, attach(b"hello"))
    signature = dkim.sign(mail, b"k", b"example.org", dkim_key, canonicalize=(canonical, canonical))
    delivered = postfix.content(queued(send(discarding, signature + mail))).replace(b"\n", b"\r\n")
    text = publish(dkim_key)
    assert dkim.verify(delivered, dnsfunc=lambda name, timeout=5: text)
    assert not dkim.verify(delivered.replace(b"dots", b"d0ts"), dnsfunc=lambda name, timeout=5: text)


def test_before_postfixs_queue(discarding: RunSmtp, postfix: PostfixServer, engine: ClamdServer) -> None:
    """As its smtpd_proxy_filter: clean mail is queued, a virus is not, and an engine that is down is 451 to Postfix's
    own client."""
    front = partial(send_to, postfix.front_port)
    clean, infected = mixed(SIBLING, attach(b"front")), mixed(SIBLING, attach(EICAR))
    before, had = postfix.held(), kept(discarding)
    queue_id = queued(front(clean))
    assert postfix.content(queue_id).endswith(lines(clean))
    assert b"accepted, id " in front(infected)
    assert postfix.held() - before == {queue_id}
    assert [data.endswith(infected) for entry, data in kept(discarding).items() if entry not in had] == [True]
    engine.signal(signal.SIGKILL)
    try:
        # Another one: what was free a moment ago is remembered as such.
        assert front(mixed(SIBLING, attach(b"down"))).startswith(b"451 4.7.1 not accepted: error, id ")
        assert postfix.held() - before == {queue_id}
    finally:
        engine.start()
    assert retry(discarding, mixed(SIBLING, attach(b"up again"))).startswith(b"250")


# --- 15.6


def test_the_infected_part_is_replaced(replacing: RunSmtp, postfix: PostfixServer) -> None:
    """One delivery: to the recipient, and to the administrator without notifications; the siblings' octets stay, the
    subject is prefixed, forged fields of ours are gone, the original is kept."""
    mail = b"X-Sluice-Virus-Status: free\r\n" + mixed(SIBLING, attach(EICAR), attach(b"fine"))
    before, had = postfix.held(), kept(replacing)
    queue_id = queued(send(replacing, mail))
    assert postfix.held() - before == {queue_id}
    assert postfix.envelope(queue_id) == ["b@example.com", "!", "admin@example.com"]
    delivered = postfix.content(queue_id)
    [(name, data)] = [(entry, data) for entry, data in kept(replacing).items() if entry not in had]
    assert data == mail
    assert b64encode(EICAR) not in delivered
    assert lines(SIBLING) in delivered
    assert lines(attach(b"fine")) + b"--x--\nepilogue\n" in delivered
    assert b"\nSubject: [VIRUS REMOVED] hello\n" in delivered
    assert delivered.count(b"X-Sluice-Virus-Status:") == 1
    assert b"X-Sluice-Virus-Status: found\n" in delivered
    assert b"X-Sluice-Quarantine-Id: " + name.encode() + b"\n" in delivered
    notice = f"This document was infected with Eicar-Test.UNOFFICIAL and has been removed.\r\nReference: {name}\r\n"
    assert notice in decoded(delivered)


def test_a_clean_mail_stays_as_it_is(replacing: RunSmtp, postfix: PostfixServer) -> None:
    """No prefix, no copy, no field of ours, nothing kept."""
    had = kept(replacing)
    mail = mixed(SIBLING, attach(b"fine"))
    queue_id = queued(send(replacing, mail))
    assert postfix.content(queue_id) == lines(mail)
    assert postfix.envelope(queue_id) == ["b@example.com"]
    assert kept(replacing) == had


def test_only_the_skipped_part_is_replaced(replacing: RunSmtp, postfix: PostfixServer) -> None:
    """Its notice is the other file's; the mail itself was not found infected: no prefix, no copy, nothing kept."""
    had = kept(replacing)
    queue_id = queued(send(replacing, mixed(SIBLING, attach(b"y" * 1_100_000, b"big.bin"), attach(b"fine"))))
    delivered = postfix.content(queue_id)
    assert lines(SIBLING) in delivered
    assert lines(attach(b"fine")) in delivered
    [notice] = [text for text in decoded(delivered) if "Reference" in text]
    assert notice.startswith("This document could not be checked for viruses (skipped) and has been removed.\r\n")
    assert b"\nSubject: hello\n" in delivered
    assert postfix.envelope(queue_id) == ["b@example.com"]
    assert kept(replacing) == had


def test_ten_infected_parts(replacing: RunSmtp, postfix: PostfixServer) -> None:
    """Ten notices, one entry."""
    had = kept(replacing)
    delivered = postfix.content(queued(send(replacing, mixed(SIBLING, *[attach(EICAR)] * 10))))
    assert sum("has been removed" in text for text in decoded(delivered)) == 10
    assert len(kept(replacing)) == len(had) + 1


@pytest.mark.parametrize(
    "mail",
    [
        TOP + b"Subject: s\r\n\r\ntext\r\nbegin 644 a\r\n" + b"%s" + b"\r\n`\r\nend\r\n",
        mixed(b"--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n==%b\r\n"),
    ],
    ids=["uuencode", "base64 behind padding"],
)
def test_what_is_infected_in_another_view_is_not_delivered(
    mail: bytes, replacing: RunSmtp, postfix: PostfixServer
) -> None:
    """The whole text, or the whole ambiguous mail, gives way."""
    uu = b"\r\n".join(binascii.b2a_uu(EICAR[at : at + 45]).rstrip(b"\n") for at in range(0, len(EICAR), 45))
    mail = mail.replace(b"%s", uu).replace(b"%b", b64encode(EICAR))
    delivered = postfix.content(queued(send(replacing, mail)))
    assert uu.splitlines()[0] not in delivered
    assert b64encode(EICAR) not in delivered
    assert any("infected with" in text for text in decoded(delivered))


@pytest.mark.parametrize(
    ("subject", "prefixed"),
    [
        (
            b"Subject: =?utf-8?q?=C3=A4?=\r\n =?utf-8?q?b?=\r\n",
            b"Subject: [VIRUS REMOVED] =?utf-8?q?=C3=A4?=\n =?utf-8?q?b?=\n",
        ),
        (b"SUBJECT: a\r\nSubject: b\r\n", b"Subject: [VIRUS REMOVED] a\nSubject: b\n"),
        (b"", b"Subject: [VIRUS REMOVED]\n"),
        (b"Subject: [VIRUS REMOVED] a\r\n", b"Subject: [VIRUS REMOVED] a\n"),
    ],
    ids=["encoded and folded", "several", "missing", "prefixed already"],
)
def test_subjects(subject: bytes, prefixed: bytes, replacing: RunSmtp, postfix: PostfixServer) -> None:
    """Only the first is prefixed, once, and its own octets stay."""
    delivered = postfix.content(queued(send(replacing, mixed(attach(EICAR), subject=subject))))
    assert prefixed in delivered
    assert delivered.lower().count(b"\nsubject:") == max(1, subject.lower().count(b"subject:"))


def test_a_broken_signature_is_told(replacing: RunSmtp, postfix: PostfixServer, dkim_key: bytes) -> None:
    """DKIM: the signature does not verify any more, and the notice says so."""
    mail = mixed(SIBLING, attach(EICAR))
    signature = dkim.sign(mail, b"k", b"example.org", dkim_key)
    delivered = postfix.content(queued(send(replacing, signature + mail)))
    text = publish(dkim_key)
    assert not dkim.verify(delivered.replace(b"\n", b"\r\n"), dnsfunc=lambda name, timeout=5: text)
    assert any("The signature is not valid any more" in notice for notice in decoded(delivered))


def test_an_engine_that_hangs_defers(replacing: RunSmtp, postfix: PostfixServer, engine: ClamdServer) -> None:
    """No answer within its time is 451, in the replacing variant, too: nothing is replaced because of an outage."""
    before, had = postfix.held(), kept(replacing)
    engine.signal(signal.SIGSTOP)
    try:
        assert send(replacing, mixed(SIBLING, attach(b"hangs"))).startswith(b"451 4.7.1 not accepted: error, id ")
    finally:
        engine.signal(signal.SIGCONT)
    assert (postfix.held(), kept(replacing)) == (before, had)
    assert retry(replacing, mixed(SIBLING, attach(b"hangs"))).startswith(b"250")
