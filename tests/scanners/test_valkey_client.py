"""Logins, databases and TLS, with a real server; what goes wrong is a miss, and no password is told."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from policy.model import Policy
from policy.valkey_url import ValkeyUrl
from policy.verdict import Status
from scanners.engine import Answer
from scanners.registry import EngineUnusable, open_antivirus
from scanners.valkey_cache import LATEST, ValkeyStore
from scanners.valkey_client import connect, describe
from tests.real.valkey_server import ValkeyServer, find_port, find_valkey, run_valkey

FREE = Answer(Status.FREE)
PASSWORD = "p4ss/w@rd%:x"  # noqa: S105
ENCODED = "p4ss%2Fw%40rd%25:x"
USER = f"user sluice on >{PASSWORD} ~sluice:* +mget +set +select"

installed = pytest.mark.skipif(importlib.util.find_spec("valkey") is None, reason="the extra `valkey` is not installed")
served = pytest.mark.skipif(find_valkey() is None, reason="neither valkey-server nor redis-server is installed")


async def share(url: str, latest: float = 2) -> bool:
    """Whether what one process remembers there is known to another."""
    one, two = (ValkeyStore(connect(ValkeyUrl.parse(url)), latest) for _ in range(2))
    try:
        for _ in range(200):  # the token is written behind our back, and the answer too
            ticket = (await one.recall("scope", "key"))[1]
            if ticket:
                one.remember("scope", "key", ticket, FREE, 60)
            if (await two.recall("scope", "key"))[0] == FREE:
                return True
            if ", 0 failures>" not in repr(one):
                return False
            await asyncio.sleep(0.01)
        return False
    finally:
        await one.close()
        await two.close()


@pytest.fixture(scope="module")
def port() -> int:
    """Where TCP is served."""
    return find_port()


@pytest.fixture(scope="module")
def locked(port: int) -> Iterator[ValkeyServer]:
    """A server with a password for everybody and a user who may do what we need and nothing else."""
    settings = [f"port {port}", "bind 127.0.0.1", f"requirepass {PASSWORD}", USER]
    with run_valkey(settings, [f"AUTH {PASSWORD}", "SELECT 3"]) as server:
        yield server


@installed
@served
class TestLogin:
    """By password, and as a user, by TCP and by Unix socket."""

    @pytest.mark.parametrize("scheme", ["valkey", "redis"])
    @pytest.mark.parametrize("login", [f":{ENCODED}", f"default:{ENCODED}", f"sluice:{ENCODED}"])
    async def test_by_tcp(self, locked: ValkeyServer, port: int, scheme: str, login: str) -> None:
        """A password alone, or a user's."""
        assert await share(f"{scheme}://{login}@127.0.0.1:{port}")

    @pytest.mark.parametrize("form", ["unix://sluice:{}@{}", "unix://:{}@{}", "unix://{1}?password={0}"])
    async def test_by_unix_socket(self, locked: ValkeyServer, form: str) -> None:
        """Each form that the libraries write."""
        assert await share(form.format(ENCODED, locked.address))

    async def test_the_database_is_the_one_that_is_named(self, locked: ValkeyServer, port: int) -> None:
        """Two keys in number 3: the token and the entry."""
        before = await asyncio.to_thread(locked.command, "DBSIZE")
        assert await share(f"valkey://sluice:{ENCODED}@127.0.0.1:{port}/3")
        after = await asyncio.to_thread(locked.command, "DBSIZE")
        assert (before, after) == (b":0\r\n", b":2\r\n")

    @pytest.mark.parametrize("login", ["", ":wr0ng@", "sluice:wr0ng@", "nobody:wr0ng@", "sluice@"])
    async def test_a_wrong_login_is_a_miss(
        self, locked: ValkeyServer, port: int, login: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Said once in the log, without the password."""
        caplog.set_level(logging.DEBUG)
        assert not await share(f"valkey://{login}127.0.0.1:{port}")
        assert "left alone for a while: Authentication" in caplog.text
        assert "wr0ng" not in caplog.text

    async def test_no_such_database_is_a_miss(self, locked: ValkeyServer, port: int) -> None:
        """The server has sixteen."""
        assert not await share(f"valkey://:{ENCODED}@127.0.0.1:{port}/999")

    @pytest.mark.parametrize("words", ["~sluice:* +select", "~other:* +mget +set"])
    async def test_a_user_who_may_not_is_a_miss(self, locked: ValkeyServer, port: int, words: str) -> None:
        """Neither the command nor the keys."""
        login = [f"ACL SETUSER poor reset on >{ENCODED} {words}"]
        assert [await asyncio.to_thread(locked.command, command) for command in login] == [b"+OK\r\n"]
        assert not await share(f"valkey://poor:{ENCODED.replace('%', '%25')}@127.0.0.1:{port}")

    async def test_a_server_that_repeats_the_password_is_not_quoted(self, caplog: pytest.LogCaptureFixture) -> None:
        """One that does not know AUTH tells what it was sent."""
        with run_valkey([f"port {(port := find_port())}", 'rename-command AUTH ""']):
            assert not await share(f"valkey://:p4ssword@127.0.0.1:{port}")
        assert "left alone for a while: " in caplog.text
        assert "p4ssword" not in caplog.text


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Whose certificates the server and its clients have."""
    return trustme.CA()


@pytest.fixture(scope="module")
def certificates(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the authority's certificate, another's, the server's and a client's."""
    directory = tmp_path_factory.mktemp("certificates")
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(directory / "other.pem"))
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    ca.issue_cert("sluice@example.com").private_key_and_cert_chain_pem.write_to_path(str(directory / "client.pem"))
    return directory


def tls_settings(certificates: Path, port: int, clients: str) -> list[str]:
    """`clients`: whether they must show a certificate."""
    names = {"tls-cert-file": "server", "tls-key-file": "server", "tls-ca-cert-file": "ca"}
    files = [f"{key} {certificates}/{name}.pem" for key, name in names.items()]
    return ["port 0", f"tls-port {port}", "bind 127.0.0.1", f"tls-auth-clients {clients}", USER, *files]


@pytest.fixture(scope="module")
def tls(certificates: Path) -> Iterator[str]:
    """`host:port` of a server that speaks TLS only and is called localhost."""
    with run_valkey(tls_settings(certificates, port := find_port(), "no")):
        yield f"localhost:{port}"


@installed
@served
class TestTls:
    """With the server's certificate looked at, unless the URL says not to."""

    @pytest.mark.parametrize("scheme", ["valkeys", "rediss"])
    async def test_a_trusted_server(self, tls: str, certificates: Path, scheme: str) -> None:
        """With a login, in a database."""
        assert await share(f"{scheme}://sluice:{ENCODED}@{tls}/3?ssl_ca_certs={certificates}/ca.pem")

    async def test_the_time_out_of_a_check_is_enough(self, tls: str, certificates: Path) -> None:
        """Where a handshake takes longer the first check goes without, and a later one finds the connection."""
        store = ValkeyStore(connect(ValkeyUrl.parse(f"valkeys://{tls}?ssl_ca_certs={certificates}/ca.pem")))
        async with asyncio.timeout(20):
            while not (await store.recall("scope", "key"))[1]:  # noqa: ASYNC110  (a real server)
                await asyncio.sleep(0.05)
        await store.close()

    @pytest.mark.parametrize("query", ["?ssl_cert_reqs=none", "?ssl_ca_certs={}/ca.pem&ssl_check_hostname=false"])
    async def test_what_is_not_to_be_looked_at(self, tls: str, certificates: Path, query: str) -> None:
        """The certificate, or the name in it."""
        assert await share(f"valkeys://{tls.replace('localhost', '127.0.0.1')}{query.format(certificates)}")

    @pytest.mark.parametrize(
        ("scheme", "host", "query"),
        [
            ("valkeys", "localhost", ""),
            ("valkeys", "localhost", "?ssl_ca_certs={}/other.pem"),
            ("valkeys", "127.0.0.1", "?ssl_ca_certs={}/ca.pem"),
            ("valkey", "localhost", ""),
        ],
    )
    async def test_anything_else_is_a_miss(
        self, tls: str, certificates: Path, scheme: str, host: str, query: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A certificate of somebody else's, for another name, or no TLS at all."""
        place = tls.replace("localhost", host)
        assert not await share(f"{scheme}://sluice:{ENCODED}@{place}{query.format(certificates)}")
        assert "left alone for a while: " in caplog.text
        assert "p4ss" not in caplog.text

    async def test_a_server_without_tls_is_a_miss(self, locked: ValkeyServer, port: int) -> None:
        """It does not shake hands."""
        assert not await share(f"valkeys://sluice:{ENCODED}@127.0.0.1:{port}?ssl_cert_reqs=none", 0.1)

    async def test_a_certificate_of_ours(self, certificates: Path) -> None:
        """For a server that wants one."""
        with run_valkey(tls_settings(certificates, port := find_port(), "yes")):
            trusting = f"valkeys://localhost:{port}?ssl_ca_certs={certificates}/ca.pem"
            assert await share(f"{trusting}&ssl_certfile={certificates}/client.pem")
            assert not await share(trusting)

    def test_a_file_that_is_no_certificate_is_refused(self, tmp_path: Path) -> None:
        """Before anything starts; there is nothing to wait for."""
        (tmp_path / "ca.pem").write_text("none")
        url = f"valkeys://u:p4ss@localhost?ssl_ca_certs={tmp_path}/ca.pem"
        policy = Policy.model_validate({"antivirus": {"A": {"protocol": "builtin"}}, "cache": {"valkey": url}})
        with pytest.raises(EngineUnusable, match=r"cache\.valkey: a certificate or key cannot be used") as caught:
            open_antivirus(policy, ["A"])
        assert "p4ss" not in str(caught.value)


@installed
class TestTrouble:
    """Nobody waits longer than LATEST."""

    async def test_a_server_that_is_silent_costs_what_a_check_waits(self) -> None:
        """Its handshake never comes; the next ones do not wait at all."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            store = ValkeyStore(connect(ValkeyUrl.parse(f"valkeys://u:p4ss@127.0.0.1:{silent.getsockname()[1]}")))
            began = asyncio.get_running_loop().time()
            assert [await store.recall("scope", "key") for _ in range(9)] == [(None, "")] * 9
            assert asyncio.get_running_loop().time() - began < LATEST + 1
            await store.close()

    async def test_nobody_there_is_a_miss(self, caplog: pytest.LogCaptureFixture) -> None:
        """The log says what the system said."""
        assert not await share(f"valkey://u:p4ss@127.0.0.1:{find_port()}")
        assert "ConnectionError (" in caplog.text
        assert "p4ss" not in caplog.text


@pytest.mark.parametrize(
    ("why", "text"),
    [
        (ValueError("p4ss"), "ValueError"),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError (Connection refused)"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_only_the_system_is_quoted(why: Exception, text: str) -> None:
    """Of all others only the kind is told."""
    assert describe(why) == text


@pytest.mark.skipif(importlib.util.find_spec("valkey") is not None, reason="the extra `valkey` is installed")
def test_without_the_extra_the_policy_is_refused() -> None:
    """The message says what to install."""
    with pytest.raises(ValueError, match=r"install avsluice\[valkey\]"):
        connect(ValkeyUrl.parse("valkey://127.0.0.1:1"))
