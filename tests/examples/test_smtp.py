"""examples/smtp.yaml before a real Postfix, whose master.cf has the lines that the example gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http import samples
from tests.real.postfix_server import PostfixServer
from tests.smtp.conftest import RunSmtp, Wire

EXAMPLE = (Path(__file__).parents[2] / "examples/smtp.yaml").read_text()

pytestmark = pytest.mark.postfix


def master_lines() -> str:
    """The two services of the example's comment."""
    lines = [line.removeprefix("#").removeprefix("   ") for line in EXAMPLE.splitlines() if line.startswith("#   ")]
    services = "\n".join(lines[: next(n for n, line in enumerate(lines) if "avsluice" in line)])
    assert services.count("smtpd\n") == 2
    return services + "\n"


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostfixServer]:
    """Postfix with these lines, and the example running as its filter, on the tests' ports."""
    server = PostfixServer()
    inner, outer = server.port, server.front_port
    master = server.directory / "etc/master.cf"
    rest = "".join(
        re.findall(r"^(?:cleanup|qmgr|rewrite|bounce|defer|trace|error|postlog).*\n", master.read_text(), re.M)
    )
    lines = re.sub(r"(?m)^smtp +inet", f"127.0.0.1:{outer} inet", master_lines()).replace(":10026", f":{inner}")
    lines = lines.replace(":2525", f":{server.filter_port}")
    master.write_text(lines + rest)
    home = tmp_path_factory.mktemp("example")
    policy = EXAMPLE.replace(":2525", f":{server.filter_port}").replace(":10026", f":{inner}")
    (home / "policy.yaml").write_text(policy.replace("protocol: auto", "protocol: builtin"))
    try:
        server.start()
        with RunSmtp(home / "policy.yaml", home):
            yield server
    finally:
        server.stop()


def send(server: PostfixServer, body: bytes) -> bytes:
    """The last reply to a mail that comes to Postfix's public side."""
    client = Wire(server.front_port)
    try:
        return client.mail(b"Subject: x\r\n\r\n" + body + b"\r\n")
    finally:
        client.close()


def test_a_clean_mail_comes_through_postfix_twice(filtered: PostfixServer):
    """It is queued behind the gateway, and its sender hears the name of that queue's file."""
    assert send(filtered, b"clean").startswith(b"250 2.0.0 Ok: queued as ")


def test_eicar_is_refused_while_its_sender_waits(filtered: PostfixServer):
    """With the words of the example, and an id."""
    reply = send(filtered, samples.EICAR)
    assert reply.startswith(b"554 5.7.1 This mail was refused, a virus was found in it, id ")
