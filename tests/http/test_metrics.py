"""The metrics of a real gateway."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply
from tests.http import samples
from tests.http.curl import curl, curl_command, environment
from tests.http.policies import TRICKLE, builtin, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine

LISTENING = re.compile(r"metrics on (http://127\.0\.0\.1:\d+)/metrics")
POLICY = checked(builtin(), top="metrics: {listen: '127.0.0.1:0'}\n")


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
        return answer.read().decode()


def value(page: str, name: str, **labels: str) -> float:
    """Of the one sample of that name that has these labels."""
    samples_ = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    (found,) = [s.value for s in samples_ if s.name == name and labels.items() <= s.labels.items()]
    return found


def test_what_was_decided_is_counted(gateway: Callable[[str], Proxy], origin: Origin):
    """After one download that passes and one that does not, both are counted, and the gateway is ready."""
    proxy = gateway(POLICY)
    match = LISTENING.search(proxy.wait_for_line(LISTENING, timeout=10))
    assert match is not None
    for path, body in (("/m/clean", b"clean"), ("/m/eicar", samples.EICAR)):
        url = origin.serve(path, Reply(steps=(body,)))
        curl(proxy, url)
        proxy.record_of(url)
    proxy_, free = {"proxy": "http-proxy.HTTP"}, {"status": "free", "action": "accept", "reason": ""}
    found = {"status": "found", "action": "deny", "reason": "virus-found"}
    page = fetch(f"{match[1]}/metrics")
    assert value(page, "avsluice_objects_total", **proxy_, **free) == 1
    assert value(page, "avsluice_objects_total", **proxy_, **found) == 1
    assert value(page, "avsluice_first_byte_seconds_count", **proxy_) == 1
    assert value(page, "avsluice_queue_seconds_count", antivirus="AV") == 2
    assert value(page, "avsluice_engine_up", **proxy_, antivirus="AV") == 1
    assert fetch(f"{match[1]}/readyz") == "ready\n"


def test_what_is_under_way_is_told(gateway: Callable[[str], Proxy], origin: Origin, engine: SlowEngine):
    """While its engine thinks, a download is seen as `trickling`; when it is over, nothing is under way."""
    engine.delay = 3.0
    proxy = gateway(checked(clamav(engine.port), TRICKLE, top="metrics: {listen: '127.0.0.1:0'}\n"))
    match = LISTENING.search(proxy.wait_for_line(LISTENING, timeout=10))
    assert match is not None
    url = origin.serve("/m/slow", Reply(steps=(samples.clean("slow", 50_000),)))
    with subprocess.Popen(curl_command(proxy, url, "-o", "/dev/null"), env=environment()) as client:
        (told,) = wait_for(lambda: [t for t in json.loads(fetch(f"{match[1]}/transfers")) if t["phase"] == "trickling"])
        assert client.wait(20) == 0
    assert (told["proxy"], told["object"], told["received"]) == ("http-proxy.HTTP", url, 50_000)
    assert 0 < told["sent"] < 50_000
    wait_for(lambda: json.loads(fetch(f"{match[1]}/transfers")) == [])


def wait_for[T](look: Callable[[], T]) -> T:
    """What `look` returns once it is true, tried every 0.2 s."""
    deadline = time.monotonic() + 10
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def test_an_address_that_is_taken_refuses_the_start(own_gateway: Callable[..., Proxy]):
    """Nothing is in force with metrics that nobody could read, and the log says which address it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = re.compile(r"cannot be put in force: metrics\.listen 127\.0\.0\.1:(\d+): cannot be listened on")
        proxy = own_gateway(checked(builtin(), top=f"metrics: {{listen: '{address}'}}\n"), ready=refused)
        assert refused.search("\n".join(proxy.lines))[1] == address.partition(":")[2]
        proxy.wait(10)  # it ends by itself
