"""The whole model: defaults as the specification has them, and what is refused section by section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from policy.model import Address, ClamavFile, ClamavNet, FtpProxy, HttpProxy, Icap, Policy, Pop3Proxy, SmtpProxy
from policy.verdict import Merge
from tests.policy.policies import make_policy

OK = [{"name": "OK", "action": "accept"}]
LISTEN = {"listen": "127.0.0.1:0", "server": ["a:1", "b:2"]}
DOC = [{"name": "D", "antivirus": "A"}]


def complaints(**gateways: Any) -> dict[str, str]:
    """What is wrong with a policy of these gateways, by place."""
    with pytest.raises(ValidationError) as caught:
        make_policy(**gateways)
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


def test_top_level_defaults():
    """An empty policy has the specification's defaults."""
    policy = Policy.model_validate({})
    assert (policy.require_real_engine, policy.blocked_memory) == (False, 600)
    assert (policy.quarantine.directory, policy.quarantine.max_age) == (None, 30 * 86400)
    assert (policy.quarantine.max_size, policy.quarantine.on_full) == (10 * 2**30, "refuse")
    assert (policy.spool.directory, policy.spool.memory) == (None, 2**20)
    assert (policy.spool.max_object, policy.spool.max_total) == (2**30, 8 * 2**30)
    assert (policy.cache.free, policy.cache.found, policy.cache.entries) == (600, 86400, 100000)
    assert (policy.cache.valkey, policy.audit.to, policy.metrics.listen) == (None, None, None)


def test_engine_defaults():
    """An engine section has the specification's defaults, and the protocol's own port."""
    sections = {
        "NET": {"protocol": "clamav-net", "address": ["av", "/run/clamd.ctl"]},
        "FILE": {"protocol": "clamav-file", "address": "av"},
        "ICAP": {"protocol": "icap", "address": "av", "uri": "/av"},
        "WEB": {"protocol": "drweb-net", "address": "av"},
    }
    engines = Policy.model_validate({"antivirus": sections}).antivirus
    net, file, icap = engines["NET"], engines["FILE"], engines["ICAP"]
    assert isinstance(net, ClamavNet)
    assert isinstance(file, ClamavFile)
    assert isinstance(icap, Icap)
    assert (net.timeout, net.max_checked_size, net.concurrency, net.canary) == (30, 100 * 2**20, 8, 30)
    assert net.address == (Address(host="av", port=3310), Address(unix="/run/clamd.ctl"))
    assert (net.transport, file.comm_dir, file.path_map) == ("auto", Path("/data/tmp/antivirus"), None)
    assert (icap.address[0].port, icap.tls, icap.icap_pass_200_with_pure_body) == (1344, None, True)
    assert engines["WEB"].address[0].port == 3000


def test_words_for_nothing():
    """`none` and `off` are what the specification calls nothing."""
    data = {
        "quarantine": {"directory": "none"},
        "cache": {"valkey": "none", "free": 0},
        "metrics": {"listen": "none"},
        "antivirus": {"I": {"protocol": "icap", "address": "a", "uri": "/", "tls": "off", "canary": "off"}},
    }
    policy = Policy.model_validate(data)
    assert (policy.quarantine.directory, policy.cache.valkey, policy.metrics.listen) == (None, None, None)
    assert policy.antivirus["I"].canary is None


def test_gateway_defaults():
    """A gateway has the specification's defaults."""
    gateway = make_policy(http_proxy={"H": {"doc-acl": DOC}}).http_proxy["H"]
    assert isinstance(gateway, HttpProxy)
    assert (gateway.enabled, gateway.merge, gateway.session_acl) == (True, Merge.KERNUN, None)
    limits = gateway.limits
    assert (limits.connections, limits.per_client) == (1000, 100)
    assert (limits.header, limits.idle, limits.stall) == (30, 300, 60)
    assert (gateway.tls.mode, gateway.server_tls.mode, gateway.server_tls.verify) == ("none", "none", True)
    acl = gateway.doc_acl[0]
    assert (acl.action, acl.antivirus, acl.accept_antivirus_status) == ("accept", ("A",), ())
    assert (acl.interval, acl.chunk, acl.limit, acl.quarantine) == (None, None, 65536, False)


def test_every_key_of_the_other_gateways():
    """FTP's, SMTP's and POP3's own keys are read."""
    ftp = {**LISTEN, "doc-acl": DOC, "passive-ports": "40000-40100", "data-type": "active"}
    ftp["command-acl"] = {"name": "C", "commands": "stor", "action": "deny"}
    smtp = {**LISTEN, "use-antivirus": "A", "doc-acl": OK, "user": "root", "merge": "strict"}
    smtp["mail-acl"] = {"name": "M", "action": "deny", "reply": "no", "when": {"recipient": "*@x"}}
    pop3 = {**LISTEN, "command-acl": {"name": "C", "use-antivirus": ["A", "B"]}, "mail-acl": OK, "doc-acl": OK}
    policy = make_policy(ftp_proxy={"F": ftp}, smtp_proxy={"S": smtp}, pop3_proxy={"P": {**pop3, "keep-alive": 5}})
    front, relay, box = policy.ftp_proxy["F"], policy.smtp_proxy["S"], policy.pop3_proxy["P"]
    assert isinstance(front, FtpProxy)
    assert isinstance(relay, SmtpProxy)
    assert isinstance(box, Pop3Proxy)
    assert (front.passive_ports, front.data_type, front.command_acl[0].commands) == (
        (40000, 40100),
        "active",
        ("STOR",),
    )
    assert (relay.server[1].port, relay.merge, relay.mail_acl[0].reply) == (2, Merge.STRICT, "no")
    assert (box.keep_alive, box.command_acl[0].use_antivirus) == (5, ("A", "B"))


def test_ftp_by_user_at_host():
    """The server may be named by the user, within an allow-list."""
    data = {"listen": "127.0.0.1:0", "user-at-host": True, "server-allow": "*.example.com", "doc-acl": DOC}
    assert make_policy(ftp_proxy={"F": data}).ftp_proxy["F"].server_allow == ("*.example.com",)


def test_no_mail_scanning_needs_no_lists():
    """A relay that scans nothing walks no list, so none is asked for."""
    relay = {**LISTEN, "no-mail-scanning": True}
    box = {**LISTEN, "command-acl": [{"name": "C", "no-mail-scanning": True}]}
    policy = make_policy(smtp_proxy={"S": relay}, imap4_proxy={"I": box})
    assert policy.smtp_proxy["S"].mail_acl == ()
    assert policy.imap4_proxy["I"].doc_acl == ()


def test_doc_acl_is_needed_only_where_a_mail_acl_accepts():
    """Where no mail is ever accepted no document is walked."""
    smtp = {**LISTEN, "use-antivirus": "A", "mail-acl": [{"name": "NO", "action": "deny"}]}
    assert make_policy(smtp_proxy={"S": smtp}).smtp_proxy["S"].doc_acl == ()
    smtp["mail-acl"] = OK
    assert list(complaints(smtp_proxy={"S": smtp})) == ["smtp-proxy.S.doc-acl"]


@pytest.mark.parametrize("key", ["accept-antivirus-status", "interval", "chunk", "limit"])
@pytest.mark.parametrize("level", ["mail-acl", "doc-acl"])
@pytest.mark.parametrize("kind", ["smtp-proxy", "pop3-proxy", "imap4-proxy"])
def test_the_other_order_is_refused_in_mail(kind: str, level: str, key: str):
    """What filters an outcome or trickles has no place in a mail ACL."""
    command = {"use-antivirus": {"download": "A"} if kind == "imap4-proxy" else "A"}
    lists = {"mail-acl": OK, "doc-acl": OK} | {level: [{**OK[0], key: 5}]}
    using = command if kind == "smtp-proxy" else {"command-acl": [{"name": "C", **command}]}
    assert list(complaints(**{kind: {"X": {**LISTEN, **using, **lists}}})) == [f"{kind}.X.{level}.0.{key}"]


@pytest.mark.parametrize("kind", ["http-proxy", "ftp-proxy"])
@pytest.mark.parametrize("key", ["virus-status", "virus-name"])
def test_the_outcome_is_no_condition_of_an_object(kind: str, key: str):
    """HTTP and FTP choose their ACL before the check."""
    rest = LISTEN if kind == "ftp-proxy" else {}
    said = complaints(**{kind: {"X": {**rest, "doc-acl": [{**DOC[0], "when": {key: "found"}}]}}})
    assert list(said) == [f"{kind}.X.doc-acl.0.when.{key}"]
    assert "accept-antivirus-status" in next(iter(said.values()))


def test_gateways_are_found_by_label():
    """Every gateway has a label of its kind and name."""
    policy = make_policy(http_proxy={"H": {"doc-acl": DOC}}, ftp_proxy={"F": {**LISTEN, "doc-acl": DOC}})
    assert [label for label, _ in policy.gateways()] == ["http-proxy.H", "ftp-proxy.F"]
    assert policy.find_gateway("ftp-proxy.F") is policy.ftp_proxy["F"]
    with pytest.raises(LookupError, match="did you mean"):
        policy.find_gateway("ftp-proxy.G")
