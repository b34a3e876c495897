"""avsluice doctor through running gateways: `avsluice run` as a process, an FTP server and a next hop behind it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import trustme

from avsluice.__main__ import main
from scanners.specimens import EICAR
from tests.avsluice.passages.conftest import CHECKED, DENY, Stage
from tests.fakes.ftp_server import Conversation

SECRET = "secret of the tests"  # noqa: S105 - what nothing may print
MEANS = ("--ftp-login", "me", "--mail-to", "me@example.org")


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given as users give it to scripts."""
    monkeypatch.setenv("AVSLUICE_PASSWORD", SECRET)


@pytest.fixture
def doctor(stage: Stage, capsys: pytest.CaptureFixture[str]):
    """Runs it with --json on the stage's policy, or another one; exit status and what it told."""

    def ask(*words: str, file: str = "all.yaml") -> tuple[int, dict[str, Any]]:
        status = main(["doctor", str(stage.folder / file), "--json", *words])
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        return status, json.loads(out)

    return ask


def fates(told: dict[str, Any], gateway: str) -> dict[str, str]:
    """Object -> what became of it, at that gateway."""
    return {p["what"]: p["fate"] for p in told["gateways"] if p["gateway"] == gateway}


def only(*names: str) -> list[str]:
    """Those gateways."""
    return ["--only", *names, *MEANS]


def test_good_gateways_pass(stage: Stage, doctor):
    """Clean objects arrive, EICAR is refused or discarded as the policy has it, and nothing is left behind."""
    names = [
        "http-proxy.GOOD",
        "ftp-proxy.GOOD",
        "ftp-proxy.TLS",
        "ftp-proxy.IMPLICIT",
        "smtp-proxy.GOOD",
        "smtp-proxy.DISCARD",
        "smtp-proxy.TLS",
    ]
    status, told = doctor(*only(*names))
    assert (status, told["problems"]) == (0, [])
    assert fates(told, "http-proxy.GOOD") == {
        "clean, downloaded": "delivered",
        "EICAR, downloaded, 8 times": "refused",
        "EICAR in a zip, downloaded, 8 times": "refused",
        "EICAR, uploaded": "refused",
    }
    files = {"clean, uploaded": "delivered", "clean, downloaded": "delivered"}
    files |= {"EICAR, uploaded": "refused", "EICAR in a zip, uploaded": "refused"}
    assert [fates(told, f"ftp-proxy.{name}") for name in ("GOOD", "TLS", "IMPLICIT")] == [files] * 3
    assert (stage.ftp.stored, stage.ftp.commands("PASS ")) == ({}, [f"PASS {SECRET}\r\n".encode()] * 3)
    mails = {"clean mail, mailed": "delivered", "EICAR, mailed": "refused", "EICAR in a zip, mailed": "refused"}
    assert fates(told, "smtp-proxy.GOOD") == fates(told, "smtp-proxy.TLS") == mails
    assert list(fates(told, "smtp-proxy.DISCARD").values()) == ["delivered", "discarded", "discarded"]
    assert [mail.recipients for mail in stage.hop.mails] == [[b"RCPT TO:<me@example.org>"]] * 3
    assert all(p["fate"] == p["expected"] for p in told["gateways"])


def test_a_gateway_that_is_told_the_server(stage: Stage, doctor):
    """USER name@host: the account's name says where to."""
    status, told = doctor("--only", "ftp-proxy.ANY", "--ftp-login", f"me@127.0.0.1:{stage.ftp.port}")
    assert (status, stage.ftp.commands("USER ")) == (0, [b"USER me\r\n"])
    assert [p["fate"] for p in told["gateways"]] == ["delivered", "delivered", "refused", "refused"]


def test_what_is_replaced_looks_delivered(stage: Stage, doctor):
    """The sender cannot tell: no fault, and a warning to look into the mailbox. EICAR has not arrived."""
    status, told = doctor(*only("smtp-proxy.REPLACE"))
    assert (status, [p["expected"] for p in told["gateways"]]) == (0, ["delivered", "replaced", "replaced"])
    assert [w for w in told["warnings"] if "look whether the mail" in w] == told["warnings"][-2:]
    assert len(stage.hop.mails) == 3
    assert not any(base64.b64encode(EICAR)[:60] in mail.wire for mail in stage.hop.mails)


def test_gateways_that_do_not_check_are_told(stage: Stage, doctor):
    """Where no engine is asked EICAR passes: exit 1, what passed, and which ACL has it so; the file is deleted."""
    status, told = doctor(*only("http-proxy.BAD", "ftp-proxy.BAD", "smtp-proxy.BAD"))
    assert status == 1
    leaks = [p["text"] for p in told["problems"]]
    assert [leak.split(" (")[0].split(" at ")[0] for leak in leaks] == [
        *["http-proxy.BAD"] * 3,
        *["ftp-proxy.BAD"] * 2,
        *["smtp-proxy.BAD"] * 2,
    ]
    assert all(" LET EICAR PASS (EICAR" in leak for leak in leaks)
    assert told["problems"][0]["consequences"] == ["its policy has it so: OPEN"]
    assert told["problems"][-1]["consequences"] == ["its policy has it so: nothing is scanned there"]
    assert stage.ftp.stored == {}


def test_a_gateway_with_another_policy_in_force(stage: Stage, doctor):
    """The policy that is asked about would refuse: that the running one does not is said."""
    sections = {"http-proxy": {"BAD": {**stage.sections["http-proxy"]["BAD"], "doc-acl": CHECKED}}}
    stage.write("other.yaml", sections)
    status, told = doctor(file="other.yaml")
    assert status == 1
    (why,) = {text for problem in told["problems"] for text in problem["consequences"]}
    assert why.startswith("by this policy it should not: the gateway runs by another one")


def test_a_clean_object_that_this_policy_refuses(stage: Stage, doctor):
    """One that passes all the same is told: another policy is in force."""
    deny = [{"name": "NOTHING", "action": "deny"}]
    stage.write("deny.yaml", {"http-proxy": {"GOOD": {**stage.sections["http-proxy"]["BAD"], "doc-acl": deny}}})
    status, told = doctor(file="deny.yaml")
    assert status == 1
    assert told["problems"][0]["text"].endswith("clean, downloaded: delivered: 200 OK")


def test_a_next_hop_that_finds_it_is_no_gateway_that_does(stage: Stage, doctor):
    """EICAR that the next hop refuses has passed the gateway."""
    stage.hop.answers[b"."] = b"554 5.7.1 infected, says the next hop\r\n"
    status, told = doctor(*only("smtp-proxy.BAD"))
    assert status == 1
    assert fates(told, "smtp-proxy.BAD") == {
        "clean mail, mailed": "failed",
        "EICAR, mailed": "delivered",
        "EICAR in a zip, mailed": "delivered",
    }
    assert told["gateways"][1]["said"] == "554 5.7.1 infected, says the next hop (the next hop's answer)"


async def _refuse(conversation: Conversation, _name: str) -> None:
    conversation.say("550 Permission denied.")


def test_an_account_that_may_not_store(stage: Stage, doctor):
    """Then nothing is said of EICAR but why."""
    stage.ftp.scripts["STOR"] = _refuse
    status, told = doctor(*only("ftp-proxy.GOOD"))
    (row,) = told["gateways"]
    assert (status, row["fate"], row["what"]) == (0, "not tried", "clean, uploaded")
    assert row["said"] == "the account can store nothing here: 550 Permission denied."


async def _give_up(conversation: Conversation, _name: str) -> None:
    conversation.say("421 Something went wrong here, goodbye.")


def test_a_gateway_or_a_server_that_breaks(stage: Stage, doctor):
    """What is not refused for good is a fault, not a lack of rights."""
    stage.ftp.scripts["STOR"] = _give_up
    status, told = doctor(*only("ftp-proxy.GOOD"))
    assert (status, fates(told, "ftp-proxy.GOOD")["clean, uploaded"]) == (1, "failed")


async def _repeat(conversation: Conversation, password: str) -> None:
    conversation.say(f"530 {password} is wrong")


def test_a_server_that_repeats_the_password(stage: Stage, doctor):
    """It stands in no output, whoever said it; the fixture looks."""
    stage.ftp.scripts["PASS"] = _repeat
    _, told = doctor(*only("ftp-proxy.GOOD"))
    assert told["gateways"][0]["said"] == "the login failed: 530 ... is wrong"


def test_another_certificate_than_the_policy_s(stage: Stage, doctor):
    """Whoever shows it is no gateway of this policy: no password goes there."""
    other = stage.folder / "other.pem"
    trustme.CA().issue_cert("gateway.example.org").private_key_and_cert_chain_pem.write_to_path(str(other))
    tls = {"certificate": str(other), "key": str(other), "mode": "starttls"}
    stage.write("tls.yaml", {"ftp-proxy": {"TLS": {**stage.sections["ftp-proxy"]["TLS"], "tls": tls}}})
    status, told = doctor("--ftp-login", "me", file="tls.yaml")
    (row,) = told["gateways"]
    assert (status, row["fate"], "CERTIFICATE_VERIFY_FAILED" in row["said"]) == (1, "failed", True)
    assert stage.ftp.commands("PASS ") == []


def test_a_file_that_stays_is_named(stage: Stage, doctor):
    """What cannot be deleted is told by name."""
    del stage.ftp.scripts["DELE"]
    status, told = doctor(*only("ftp-proxy.GOOD"))
    (name,) = stage.ftp.stored
    assert (status, told["gateways"][1]["said"].endswith(f"; {name} is left there: 502 not here")) == (0, True)


def test_what_cannot_be_tried_says_why(stage: Stage, doctor):
    """No account, no address, not built, nobody there: a row each, and no fault."""
    there = {"listen": stage.sections["smtp-proxy"]["GOOD"]["listen"]}  # anybody who accepts
    mailbox = {"server": "127.0.0.1:1", **there, "mail-acl": DENY, "doc-acl": DENY}
    sections = {
        "http-proxy": {
            "NOWHERE": {"doc-acl": CHECKED},
            "ANY": {"listen": "127.0.0.1:0", "doc-acl": CHECKED},
            "DOWN": {"listen": "127.0.0.1:1", "doc-acl": CHECKED},
            "REVERSE": {**stage.sections["http-proxy"]["GOOD"], "server": "www.example.org:80"},
            "LAN": {
                **stage.sections["http-proxy"]["GOOD"],
                "session-acl": [{"name": "L", "when": {"client": ["10.0.0.0/8"]}, "action": "permit"}],
            },
            "OFF": {**stage.sections["http-proxy"]["BAD"], "enabled": False},
        },
        "ftp-proxy": {"F": stage.sections["ftp-proxy"]["GOOD"]},
        "smtp-proxy": {"S": stage.sections["smtp-proxy"]["GOOD"]},
        "pop3-proxy": {"P": {**mailbox, "command-acl": [{"name": "C", "use-antivirus": ["AV"]}]}},
    }
    stage.write("odd.yaml", sections)
    status, told = doctor(file="odd.yaml")
    said = {p["gateway"]: p["said"] for p in told["gateways"]}
    assert (status, len(told["gateways"])) == (0, 8)
    assert {p["fate"] for p in told["gateways"]} == {"not tried"}
    assert said.pop("pop3-proxy.P").startswith("a mail would have to lie in a mailbox")
    assert said == {
        "http-proxy.NOWHERE": "the policy has no `listen` for it",
        "http-proxy.ANY": "its port is 0: whoever started it knows the real one",
        "http-proxy.DOWN": "it is not running: Connection refused",
        "http-proxy.REVERSE": "it fetches from www.example.org:80 only, not from this command's own server",
        "http-proxy.LAN": "session-acl (none matches) refuses 127.0.0.1",
        "ftp-proxy.F": "needs an account: --ftp-login USER",
        "smtp-proxy.S": "needs somebody who gets the mails: --mail-to ADDRESS",
    }


def test_the_table(stage: Stage, capsys: pytest.CaptureFixture[str]):
    """For people: a second table, and what passed in capitals."""
    assert main(["doctor", str(stage.folder / "all.yaml"), *only("smtp-proxy.BAD")]) == 1
    out, err = capsys.readouterr()
    _, _, head, clean, bad, zipped = [line.split("  ") for line in out.splitlines() if line]
    words = [[word.strip() for word in line if word.strip()] for line in (head, clean, bad, zipped)]
    assert words[0] == ["GATEWAY", "ADDRESS", "OBJECT", "EXPECTED", "RESULT", "IN MS", "ANSWER"]
    assert [line[2:5] for line in words[1:]] == [
        ["clean mail, mailed", "delivered", "delivered"],
        ["EICAR, mailed", "delivered", "PASSED"],
        ["EICAR in a zip, mailed", "delivered", "PASSED"],
    ]
    assert err.count("problem: ") == 2
