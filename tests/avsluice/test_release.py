"""avsluice quarantine release: SMTP to a real receiving server, IMAP to a real Dovecot, files."""

from __future__ import annotations

import imaplib
import json
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from avsluice.__main__ import main
from tests.avsluice.stocked import MAIL, Stock
from tests.real.dovecot_server import PASSWORD, USER, run_dovecot


class Inbox:
    """What a receiving server took."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], bytes]] = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such\x1b[2J user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if envelope.mail_from.startswith("later@"):
            return "451 4.3.0 later"
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content))
        return "250 OK"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def server(inbox: Inbox) -> Iterator[Controller]:
    """A real SMTP server on loopback."""
    controller = Controller(inbox, hostname="127.0.0.1", port=0, decode_data=False)
    yield from _serving(controller)


def _serving(controller: Controller) -> Iterator[Controller]:
    controller.port = _free_port()
    controller.start()
    yield controller
    controller.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture
def stock(tmp_path: Path, server: Controller) -> Stock:
    return Stock(tmp_path, server.port)


def release(stock: Stock, *words: str) -> int:
    return main(["quarantine", "release", str(stock.policy), *words])


def test_a_mail_goes_to_the_next_hop_and_its_recipients(stock: Stock, inbox: Inbox, capsys):
    """Without options: the gateway's own server, the envelope of then, the bytes of then under two lines of trace."""
    mail = stock.keep_mail()
    assert release(stock, mail, "--json") == 0
    (sender, recipients, content), *more = inbox.mails
    assert (sender, recipients, more) == ("eve@example.net", ["bob@example.org", "amy@example.org"], [])
    head, body = content[: -len(MAIL)], content[-len(MAIL) :]
    assert body == MAIL
    assert head.startswith(b"Received: by ")
    assert head.endswith(b"\r\nX-Sluice-Quarantine-Id: %s\r\n" % mail.encode())
    told = json.loads(capsys.readouterr().out)
    assert told["recipients"] == ["bob@example.org", "amy@example.org"]


def test_every_release_is_audited(stock: Stock):
    """The record says who released what to where; the entry stays unless --delete says otherwise."""
    mail = stock.keep_mail()
    assert release(stock, mail) == 0
    record = json.loads(stock.audit())
    assert record["action"] == "release"
    assert record["id"] == record["quarantine"] == mail
    assert record["event"] == "mail"
    assert record["server"].startswith("127.0.0.1:")
    assert record["user"]
    assert (record["status"], record["virus"]) == ("found", "Eicar")
    assert "hello" not in stock.audit()
    assert len(os.listdir(stock.directory / "kept-mail")) == 2


def test_odd_metadata_is_audited_too(stock: Stock):
    """A release of an entry whose metadata holds what it should not leaves its record like any other."""
    odd = {"client": ["192.0.2.7"], "virus": {"a": 1}, "content_type": 7, "filename": {"b": [2]}, "status": ["found"]}
    entry = stock.keep_file(**odd)
    assert release(stock, entry, "--output", str(stock.directory / "odd")) == 0
    record = json.loads(stock.audit())
    assert (record["quarantine"], record["action"], record["content_type"]) == (entry, "release", "7")


def test_other_recipients_and_sender(stock: Stock, inbox: Inbox):
    """--to and --from replace the envelope; --delete removes the entry that everybody has got."""
    mail = stock.keep_mail()
    assert release(stock, mail, "--to", "admin@example.org", "--from", "", "--delete") == 0
    assert inbox.mails[0][:2] == ("<>", ["admin@example.org"])
    assert os.listdir(stock.directory / "kept-mail") == []


def test_a_refused_recipient_is_told(stock: Stock, inbox: Inbox, capsys):
    """The others get it, the exit status is 1, the server's words are made harmless, and the entry stays."""
    mail = stock.keep_mail(recipients=("bob@example.org", "nobody@example.org"))
    assert release(stock, mail, "--delete") == 1
    assert inbox.mails[0][1] == ["bob@example.org"]
    out, err = capsys.readouterr()
    assert "5.1.1 no such" in out
    assert "\x1b" not in out + err
    assert len(os.listdir(stock.directory / "kept-mail")) == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sender": "later@example.net"}, "451 4.3.0 later"),
        ({"recipients": ("nobody@example.org",)}, "every recipient was refused"),
        ({"recipients": ()}, "no recipients"),
        ({"recipients": ("a@b>\r\nRCPT TO:<c@d",)}, "is no mail address"),
        ({"proxy": "smtp-proxy.GONE"}, "no smtp-proxy of the policy is called smtp-proxy.GONE"),
    ],
)
def test_what_is_not_released(stock: Stock, inbox: Inbox, capsys, more, words: str):
    """A refusal is told, exit status 1; nothing is audited as released, and the entry stays."""
    mail = stock.keep_mail(**more)
    assert release(stock, mail, "--delete") == 1
    assert words in capsys.readouterr().err
    assert inbox.mails == []
    assert stock.audit() == ""
    assert len(os.listdir(stock.directory / "kept-mail")) == 2


def test_a_server_that_is_not_there(stock: Stock, capsys):
    """Nobody listening is told as such."""
    mail = stock.keep_mail()
    assert release(stock, mail, "--server", f"127.0.0.1:{_free_port()}") == 1
    assert "refused" in capsys.readouterr().err


def test_the_next_hops_are_tried_in_turn(stock: Stock, inbox: Inbox, server: Controller):
    """Where the first server of the gateway is not there, the second one gets the mail."""
    both = f"server: [127.0.0.1:{_free_port()}, 127.0.0.1:{server.port}]"
    stock.policy.write_text(stock.policy.read_text().replace(f"server: 127.0.0.1:{server.port}", both))
    assert release(stock, stock.keep_mail()) == 0
    assert len(inbox.mails) == 1
    assert f"127.0.0.1:{server.port}" in stock.audit()


def test_a_bad_goodbye_changes_nothing(stock: Stock, inbox: Inbox, capsys):
    """A server that took the mail and then answers QUIT badly has it: nobody is told to send it again."""

    async def handle_quit(server, session, envelope):
        return "421 4.3.2 not now"

    inbox.handle_QUIT = handle_quit  # type: ignore[attr-defined]  # one hook more
    mail = stock.keep_mail()
    assert release(stock, mail) == 0
    assert len(inbox.mails) == 1
    assert '"release"' in stock.audit()


def test_our_own_gateway_is_refused(stock: Stock, capsys):
    """A release through the gateway would be caught again: it is refused before anything is done."""
    mail = stock.keep_mail()
    assert release(stock, mail, "--server", "localhost:2525") == 2
    assert "smtp-proxy.SMTP, which would catch it again" in capsys.readouterr().err


def test_line_ends_cannot_smuggle(stock: Stock, inbox: Inbox):
    """Bare CR and LF become CRLF, so that no server takes a dot between them for the end."""
    mail = stock.keep_mail(b"Subject: x\n\na\r.\rMAIL FROM:<x@y>\n.\nb")
    assert release(stock, mail) == 0
    assert len(inbox.mails) == 1
    assert inbox.mails[0][2].endswith(b"\r\n\r\na\r\n.\r\nMAIL FROM:<x@y>\r\n.\r\nb\r\n")


def test_a_login_goes_over_tls(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """STARTTLS with a verified certificate, then the login, whose password is no argument."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    seen = []

    def check(server, session, envelope, mechanism, data):
        seen.append((data.login, data.password))
        return AuthResult(success=True)

    controller = Controller(
        inbox, hostname="127.0.0.1", tls_context=context, require_starttls=True, authenticator=check, auth_required=True
    )
    for server in _serving(controller):
        stock = Stock(tmp_path, server.port)
        mail = stock.keep_mail()
        monkeypatch.setenv("AVSLUICE_PASSWORD", "secret")
        words = [mail, "--server", f"localhost:{server.port}", "--tls", "starttls", "--user", "me"]
        assert release(stock, *words) == 1  # a certificate that nobody vouches for
        assert release(stock, *words, "--ca", str(tmp_path / "ca.pem")) == 0
    assert seen == [(b"me", b"secret")]
    assert len(inbox.mails) == 1


def test_no_password_in_the_clear(stock: Stock, capsys):
    """A login without TLS to another machine is refused before anything is sent."""
    mail = stock.keep_mail()
    assert release(stock, mail, "--server", "192.0.2.1:25", "--user", "me") == 2
    assert "unencrypted" in capsys.readouterr().err


def test_a_file_is_released_to_a_path(stock: Stock, capsys):
    """What is no mail needs a path, and leaves a record, too."""
    file = stock.keep_file()
    assert release(stock, file) == 1
    assert "say --output PATH" in capsys.readouterr().err
    assert release(stock, file, "--output", str(stock.directory / "a.zip")) == 0
    assert (stock.directory / "a.zip").read_bytes() == b"PK\x03\x04 bytes"
    assert json.loads(stock.audit())["server"] == "file"


def test_without_an_audit_log_nothing_is_released(stock: Stock, inbox: Inbox, capsys):
    """Where no record can be written, nothing leaves."""
    mail = stock.keep_mail()
    (stock.directory / "audit.log").mkdir()
    assert release(stock, mail) == 2
    assert "nothing is released" in capsys.readouterr().err
    assert inbox.mails == []


@pytest.mark.dovecot
def test_imap_append_keeps_flags_and_date(stock: Stock, tmp_path: Path, capsys):
    """The mail is in the mailbox it lay in, byte for byte, with its flags and its date."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    mail = stock.keep_mail(
        mailbox='B\u00fc"ro & Co', flags=("\\Seen", "$Junk", "\\Recent"), internal_date="2026-01-02T03:04:05+00:00"
    )
    with run_dovecot() as (host, port):
        box = imaplib.IMAP4(host, port, timeout=20)
        box.login(USER, PASSWORD)
        box.create('"B&APw-\\"ro &- Co"')
        words = ["--imap", f"{host}:{port}", "--user", USER, "--password-file", str(tmp_path / "password")]
        assert release(stock, mail, *words) == 0
        box.select('"B&APw-\\"ro &- Co"')
        _, ((head, content), *_) = box.fetch("1", "(FLAGS INTERNALDATE BODY.PEEK[])")
        assert content == MAIL
        assert b'INTERNALDATE "02-Jan-2026 03:04:05 +0000"' in head
        assert b"\\Seen" in head
        assert b"$Junk" in head
        assert release(stock, mail, *words, "--mailbox", "No such") == 1
        assert "NO [TRYCREATE]" in capsys.readouterr().err
        (tmp_path / "password").write_text("wrong\n")
        assert release(stock, mail, *words) == 1
        assert "AUTHENTICATIONFAILED" in capsys.readouterr().err
        box.logout()
    assert stock.audit().count('"release"') == 1


def test_an_imap_server_that_is_not_there(stock: Stock, capsys):
    """Nobody listening is told, and no task is left behind."""
    mail = stock.keep_mail()
    assert release(stock, mail, "--imap", f"127.0.0.1:{_free_port()}") == 1
    assert "Connect call failed" in capsys.readouterr().err
