"""The metrics of a real gateway."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy

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


def test_an_address_that_is_taken_refuses_the_start(own_gateway: Callable[..., Proxy]):
    """Nothing is in force with metrics that nobody could read, and the log says which address it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = re.compile(r"cannot be put in force: metrics\.listen 127\.0\.0\.1:(\d+): cannot be listened on")
        proxy = own_gateway(checked(builtin(), top=f"metrics: {{listen: '{address}'}}\n"), ready=refused)
        assert refused.search("\n".join(proxy.lines))[1] == address.partition(":")[2]
        proxy.wait(10)  # it ends by itself
