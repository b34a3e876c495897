"""YARA rules: what they find, in which layers, and what is wrong with them."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from policy.verdict import Status
from scanners.body import MemoryBody, SparseBody
from scanners.builtin.budget import Budget
from scanners.builtin.compilation import CompiledRules, compile_rules
from scanners.builtin.engine import Builtin
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Walk
from scanners.builtin.yara import Matcher
from scanners.specimens import EICAR
from tests.scanners.packed import PACKINGS, encrypted_zip

MIB = 1 << 20
NOISE = random.Random(3).randbytes(2 * MIB)  # noqa: S311  (any bytes, but the same ones every time)
RULE = 'rule Needle { strings: $a = "the needle" condition: $a }\n'
SLOW = "rule Slow { condition: for all i in (0..9000000000): (uint8(i % 100) < 256) }\n"


def write_rules(path: Path, text: str = RULE) -> CompiledRules:
    """The rules of a file with that text."""
    path.write_text(text)
    return compile_rules(path)


@pytest.fixture(scope="module")
def needle(tmp_path_factory: pytest.TempPathFactory) -> CompiledRules:
    """One rule."""
    return write_rules(tmp_path_factory.mktemp("rules") / "rules.yar")


@pytest.fixture
async def engine(needle: CompiledRules) -> AsyncIterator[Builtin]:
    """The engine with one rule."""
    made = Builtin(rules=needle)
    yield made
    await made.close()


class TestFinds:
    """What matches."""

    async def test_hit_and_miss(self, engine: Builtin) -> None:
        """A rule that matches is found by its name; EICAR still is; anything else is free."""
        answer = await engine.ask(MemoryBody(b"xx the needle xx"))
        assert (answer.status, answer.virus) == (Status.FOUND, "Needle")
        assert (await engine.ask(MemoryBody(EICAR))).virus == "Eicar-Test-Signature"
        for clean in (b"", b"the noodle", NOISE):
            assert (await engine.ask(MemoryBody(clean))).status is Status.FREE

    @pytest.mark.parametrize("outer", PACKINGS)
    @pytest.mark.parametrize("inner", PACKINGS)
    def test_in_archives_in_archives(self, needle: CompiledRules, inner: str, outer: str) -> None:
        """Every layer is looked at, small ones in memory and large ones in a file."""
        rules = Matcher(needle.data)
        for data in (b"the needle", bytes(2 * MIB) + b"the needle"):
            packed = MemoryBody(PACKINGS[outer](PACKINGS[inner](data)))
            answer = Walk(Signatures(), Budget(), rules).scan(packed)
            assert (answer.status, answer.virus) == (Status.FOUND, "Needle")

    async def test_layers_as_a_whole(self, tmp_path: Path) -> None:
        """A rule sees a layer from its first byte to its last, however large."""
        rules = write_rules(
            tmp_path / "rules.yar",
            'rule Ends { strings: $a = "begin" $z = "end" condition: $a at 0 and $z at (filesize - 3) }',
        )
        engine = Builtin(rules=rules)
        data = b"begin" + NOISE + b"end"
        for packed in (data, PACKINGS["zip"](data), PACKINGS["tar.xz"](data)):
            assert (await engine.ask(MemoryBody(packed))).virus == "Ends"
        assert (await engine.ask(MemoryBody(data + b"."))).status is Status.FREE
        await engine.close()

    async def test_100_mb(self, engine: Builtin) -> None:
        """A large object is matched where it lies."""
        body = SparseBody(100 * MIB, [(100 * MIB - 10, b"the needle")])
        assert (await engine.ask(body)).virus == "Needle"

    async def test_what_cannot_be_unpacked_is_matched_as_it_is(self, engine: Builtin) -> None:
        """A rule finds what stands in an encrypted archive's shell, and what came out of a damaged one."""
        assert (await engine.ask(MemoryBody(encrypted_zip(b"the needle")))).virus == "Needle"
        cut = PACKINGS["gzip"](b"the needle" + NOISE)[:-2000]
        assert (await engine.ask(MemoryBody(cut))).virus == "Needle"

    async def test_the_first_rule_gives_the_name(self, tmp_path: Path) -> None:
        """Of several that match, and are not private, the one that stands first."""
        text = "private rule P { condition: true }\nrule B { condition: P }\nrule A { condition: P }\n"
        engine = Builtin(rules=write_rules(tmp_path / "a.yar", text))
        assert (await engine.ask(MemoryBody(b"x"))).virus == "B"
        await engine.close()


class TestBounds:
    """What it may cost."""

    def test_time(self, tmp_path: Path) -> None:
        """Rules that take too long leave the object skipped."""
        rules = Matcher(write_rules(tmp_path / "slow.yar", SLOW).data)
        began = time.monotonic()
        answer = Walk(Signatures(), Budget(seconds=0.5), rules).scan(MemoryBody(b"x" * 1000))
        assert (answer.status, answer.detail) == (Status.SKIPPED, "the YARA rules took too long")
        assert time.monotonic() - began < 3

    def test_room(self, needle: CompiledRules) -> None:
        """Layers that would take more room on the disk than allowed leave the object skipped."""
        rules = Matcher(needle.data)
        answer = Walk(Signatures(), Budget(copied=MIB), rules).scan(MemoryBody(PACKINGS["tar"](NOISE)))
        assert (answer.status, answer.detail) == (Status.SKIPPED, "takes too much room")


class TestRules:
    """What is compiled, and what is wrong with it."""

    def test_a_directory(self, tmp_path: Path) -> None:
        """All `.yar` and `.yara` files, also below; one name may stand in two of them; hidden ones are left out."""
        (tmp_path / "deep").mkdir()
        (tmp_path / "..data").mkdir()
        (tmp_path / "a.yar").write_text(RULE)
        (tmp_path / "deep/b.yara").write_text(RULE.replace("the needle", "other"))
        for name in ("README.md", ".c.yar", "..data/d.yar"):
            (tmp_path / name).write_text("no rule")
        rules = compile_rules(tmp_path)
        assert ", 2 rules " in rules.edition
        matcher = Matcher(rules.data)
        assert [matcher.match(b, 1) for b in (b"the needle", b"other", b"more")] == ["Needle", "Needle", None]

    def test_the_edition_tells_rules_apart(self, tmp_path: Path) -> None:
        """Rules with other words have another edition, and so another place in the cache."""
        one, same = write_rules(tmp_path / "a.yar"), write_rules(tmp_path / "b.yar")
        other = write_rules(tmp_path / "a.yar", RULE.replace("needle", "noodle"))
        assert one.edition == same.edition != other.edition

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("rule A { condition: foo }", ":1:21: unknown identifier `foo`"),
            (RULE + "\nrule B {{", ":3:9: syntax error"),
            (RULE + RULE, ":2:6: duplicate rule `Needle`"),
            ('include "/etc/passwd"\n' + RULE, ":1:1: include statements not allowed"),
            ("", ": there is no rule in it"),
            ("// nothing\n", ": there is no rule in it"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_line(self, tmp_path: Path, text: str, problem: str) -> None:
        """File, line and column, and the compiler's words."""
        with pytest.raises(ValueError, match="rules") as told:
            write_rules(tmp_path / "rules.yar", text)
        assert str(told.value).startswith(f"{tmp_path / 'rules.yar'}{problem}")

    def test_everything_wrong_is_told_at_once(self, tmp_path: Path) -> None:
        """Problems in several files are several lines, and no more than can be read."""
        for number in range(30):
            (tmp_path / f"{number:02}.yar").write_text("rule A { condition: foo }")
        with pytest.raises(ValueError, match="unknown identifier") as told:
            compile_rules(tmp_path)
        lines = str(told.value).splitlines()
        assert [line.partition(":")[0] for line in lines[:20]] == [str(tmp_path / f"{n:02}.yar") for n in range(20)]
        assert lines[20:] == ["and 10 more"]

    def test_what_is_not_utf_8_is_told_with_its_line(self, tmp_path: Path) -> None:
        """Bytes in another encoding are refused, not guessed."""
        (tmp_path / "a.yar").write_bytes(RULE.encode() + b"// caf\xe9\n")
        with pytest.raises(ValueError, match=r"a\.yar:2: not UTF-8"):
            compile_rules(tmp_path / "a.yar")

    def test_a_directory_without_rules(self, tmp_path: Path) -> None:
        """Nothing to find is an error, not an engine that finds nothing."""
        (tmp_path / "rules.txt").write_text(RULE)
        with pytest.raises(ValueError, match=r"no \.yar or \.yara file"):
            compile_rules(tmp_path)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        """A file that cannot be read is named."""
        with pytest.raises(ValueError, match=r"No such file or directory: .*none\.yar"):
            compile_rules(tmp_path / "none.yar")

    def test_the_missing_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without yara-x the error says what to install."""
        blocked = tmp_path / "blocked"
        blocked.mkdir()
        (blocked / "yara_x.py").write_text("raise ModuleNotFoundError(\"No module named 'yara_x'\")")
        monkeypatch.setenv("PYTHONPATH", str(blocked))
        with pytest.raises(ValueError, match=r"not installed; pip install 'avsluice\[yara\]'"):
            write_rules(tmp_path / "rules.yar")
