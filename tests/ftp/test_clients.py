"""Every client, every server, every way to a data connection, every way of TLS: what arrives is what was there.

With AVSLUICE_FTP_DIRECT set the clients go to the servers themselves, which shows that the tests are right.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.ftp.clients import CLIENTS, Client
from tests.ftp.conftest import FRONTS, SERVERS, Crossings, Servers
from tests.ftp.place import Data, Place, Tls
from tests.http import samples

pytestmark = [pytest.mark.vsftpd, pytest.mark.proftpd]

DIRECT = bool(os.environ.get("AVSLUICE_FTP_DIRECT"))
SIZE = 300_000
DATA: tuple[Data, ...] = ("pasv", "epsv", "port", "eprt")

type Row = tuple[str, str, Data, Tls]


def rows() -> list[Row]:
    """Each way of each client, each time before the server that has met the fewest of its like."""
    met: Counter[tuple[str, str]] = Counter()
    listed: list[Row] = []
    for client, (data, tls) in ((c, way) for c in CLIENTS for way in CLIENTS[c].ways):
        server = min(SERVERS, key=lambda s: min(1, met[s, client]) + min(1, met[s, data]) + min(1, met[s, tls]))
        listed.append((client, server, data, tls))
        met.update(((server, client), (server, data), (server, tls)))
    missing = [(c, s) for c in CLIENTS for s in SERVERS if not met[s, c]]
    unseen = [(server, data) for server in SERVERS for data in DATA if not met[server, data]]
    listed += [(client, server, *CLIENTS[client].ways[0]) for client, server in missing]
    return listed + [("ftplib", server, data, "none") for server, data in unseen]


def direct_rows() -> list[Row]:
    """The same, with the TLS that the server itself speaks, where the client can."""
    kept = {(c, s, d, SERVERS[s][1]) for c, s, d, _tls in rows() if (d, SERVERS[s][1]) in CLIENTS[c].ways}
    # curl ends an upload under TLS 1.3 with tickets unread, which vsftpd takes for a failure.
    return sorted(row for row in kept if row[0] != "curl" or "vsftpd-" not in row[1])


def _parameters(listed: list[Row]) -> list[object]:
    marks = {"lftp": [pytest.mark.lftp], "wget": [pytest.mark.wget]}
    return [pytest.param(row, id="-".join(row), marks=marks.get(row[0], [])) for row in listed]


@pytest.fixture(params=_parameters(direct_rows() if DIRECT else rows()))
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """One client on its way."""
    name, server, data, tls = request.param
    place: Place
    if DIRECT:
        servers: Servers = request.getfixturevalue("servers")
        place = servers.place(server)
    else:
        crossings: Crossings = request.getfixturevalue("crossings")
        place = crossings.place(server, tls)
    return CLIENTS[name](place, data, tmp_path)


def test_the_rows_cover_every_pair() -> None:
    """Client and server, client and data, client and TLS that the client can, server and TLS: all meet."""
    listed = rows()
    assert {(c, s) for c, s, _, _ in listed} == set(itertools.product(CLIENTS, SERVERS))
    assert {(c, d, t) for c, _, d, t in listed} == {(c, d, t) for c in CLIENTS for d, t in CLIENTS[c].ways}
    assert {(s, t) for _, s, _, t in listed} == set(itertools.product(SERVERS, FRONTS))
    assert {(s, d) for _, s, d, _ in listed} == set(itertools.product(SERVERS, DATA))


def test_a_journey(client: Client, request: pytest.FixtureRequest) -> None:
    """A file is stored and fetched, each in one go and in two, and is the same everywhere; EICAR passes in no way."""
    root, folder = client.place.root, client.folder
    name = "".join(c for c in request.node.name if c.isalnum())
    data = samples.clean(name, SIZE)
    (root / name).write_bytes(data)
    done = client.get(name)
    assert (done.exit, content(folder / name) == data) == (0, True), done.output
    (folder / name).write_bytes(data[: SIZE // 3])
    done = client.get(name, resume=True)
    assert (done.exit, content(folder / name) == data) == (0, True), done.output
    if client.stores:
        _store(client, name)
    if not DIRECT:
        _infected(client, name)


def content(file: Path) -> bytes | None:
    """What is in the file; None where there is none."""
    return file.read_bytes() if file.exists() else None


def _store(client: Client, name: str) -> None:
    stored, up = client.place.root / f"{name}up", client.folder / f"{name}up"
    data = samples.clean(up.name, SIZE)
    up.write_bytes(data)
    done = client.put(up.name)
    assert (done.exit, content(stored) == data) == (0, True), done.output
    stored.write_bytes(data[: SIZE // 3])
    done = client.put(up.name, resume=True)
    assert (done.exit, content(stored) == data) == (0, True), done.output


def _infected(client: Client, name: str) -> None:
    data = samples.infected(name, 5000)
    (client.place.root / f"{name}bad").write_bytes(data)
    done = client.get(f"{name}bad")
    got = client.folder / f"{name}bad"
    assert done.exit != 0
    assert not content(got)
    if client.stores:
        (client.folder / f"{name}bad2").write_bytes(data)
        done = client.put(f"{name}bad2")
        assert done.exit != 0
        assert not (client.place.root / f"{name}bad2").exists()
