"""`avsluice quarantine ...`: what was kept back, and what becomes of it.

Rules of this file: results go to standard output, everything else to standard error; exit 0 where everything asked
for was done, 1 where an entry was not there or something refused it, 2 where nothing was attempted.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import policy as sluice
from avsluice.export import choose_path, read_head, write_file, write_to_stdout
from avsluice.kept import Kept, Store, find_all, find_by_id, find_stores
from avsluice.kept_text import SHOWN, spell_content, spell_done, spell_entry, spell_json, spell_table
from avsluice.quarantine_arguments import Refused, add_actions, read_filter, split_words
from inspection.record import visible
from policy.load import PolicyError
from policy.model import Policy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One action and its words."""
    add_actions(parser)


def run(arguments: argparse.Namespace) -> int:
    """Does the action; 0, 1 or 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name is never a reason to stop
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        return _Task(arguments).act()
    except (PolicyError, Refused) as bad:
        print(bad, file=sys.stderr)
        return 2


class _Task:
    """One call of the command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        file, self.ids = split_words(arguments)
        if file is None:
            raise Refused("name the policy: avsluice quarantine ACTION FILE ... (or --policy FILE)")
        self.policy: Policy = sluice.load(file)
        self.stores = [store for store in find_stores(self.policy) if _can_be_read(store)]
        if not self.stores:
            raise Refused(f"{file}: there is no quarantine directory that could be read")
        self.failed = False

    def act(self) -> int:
        """The exit status."""
        actions = {
            "list": self.list_entries,
            "show": self.show,
            "export": self.export,
            "delete": self.delete,
            "expire": self.expire,
            "release": self.release,
        }
        actions[self.arguments.action]()
        return 1 if self.failed else 0

    def complain(self, text: str) -> None:
        """Something asked for was not done."""
        self.failed = True
        print(visible(text), file=sys.stderr)

    def chosen(self) -> Iterator[Kept]:
        """The entries that ids or filters name. Refused where nothing was asked for: nobody deletes all by a slip."""
        asked = read_filter(self.arguments)
        everything = getattr(self.arguments, "all", False)
        if self.ids:
            if asked.asks or everything:
                raise Refused("name entries by id, or by filters, not by both")
            return find_by_id(self.stores, self.ids, lambda missing: self.complain(f"{missing[:40]}: no such entry"))
        if not asked.asks and not everything:
            raise Refused("name at least one ID, a filter, or --all")
        return iter(find_all(self.stores, asked))

    def tell(self, kept: Kept, **done: object) -> None:
        """One line for what was done."""
        print(spell_done(kept, done, as_json=self.arguments.json), flush=True)

    # --- the actions

    def list_entries(self) -> None:
        if self.ids:
            raise Refused(f"{self.ids[0][:40]}: list takes filters; `show` takes ids")
        found = find_all(self.stores, read_filter(self.arguments))
        for line in map(spell_json, found) if self.arguments.json else spell_table(found):
            print(line)
        size = sum(kept.entry.size for kept in found)
        print(f"{len(found)} {'entry' if len(found) == 1 else 'entries'}, {size} bytes", file=sys.stderr)

    def show(self) -> None:
        for n, kept in enumerate(self.chosen()):
            try:
                content = read_head(kept, SHOWN) if self.arguments.content else None
            except OSError as error:
                self.complain(f"{kept.id}: {error.strerror or error}")
                continue
            if self.arguments.json:
                more = {} if content is None else {"content": spell_content(content)}
                print(spell_json(kept, **more))
            else:
                print(*([""] if n else []), *spell_entry(kept, content), sep="\n")

    def export(self) -> None:
        chosen = list(self.chosen())
        output: str | None = self.arguments.output
        if output in (None, "-"):
            self._export_to_stdout(chosen, asked=output == "-")
            return
        path = Path(str(output))
        if len(chosen) > 1 and not path.is_dir():
            raise Refused(f"{output}: several entries need a directory")
        for kept in chosen:
            self.write(kept, path)

    def _export_to_stdout(self, chosen: Sequence[Kept], *, asked: bool) -> None:
        if len(chosen) > 1:
            raise Refused("several entries need --output DIRECTORY")
        if sys.stdout.isatty() and not asked:
            raise Refused("that would go to the terminal; say --output FILE, or --output - if you mean it")
        for kept in chosen:
            with self.seen_to(kept):
                write_to_stdout(kept)

    def write(self, kept: Kept, output: Path) -> Path | None:
        """To a file; None where that failed, which was told then."""
        path = choose_path(kept, output)
        with self.seen_to(kept):
            write_file(kept, path, force=self.arguments.force)
            self.tell(kept, path=str(path), size=kept.entry.size)
            return path
        return None

    def delete(self) -> None:
        for kept in self.chosen():
            with self.seen_to(kept):
                if kept.store.shelf.remove(kept.id):
                    self.tell(kept, deleted=True)

    def expire(self) -> None:
        if self.ids:
            raise Refused("expire takes no ids; `delete` does")
        for store in self.stores:
            quarantine = store.open(self.arguments.older)
            try:
                store.shelf.prepare()
                gone = quarantine.expire(self.arguments.down_to)
            except OSError as error:
                self.complain(f"{store.directory}: {error.strerror or error}")
                continue
            finally:
                quarantine.close()
            told = {"directory": str(store.directory), "expired": gone}
            print(json.dumps(told) if self.arguments.json else f"{store.directory}: {gone} expired")

    def release(self) -> None:
        from avsluice.release import Release

        release = Release(self.policy, self.arguments)
        chosen = list(self.chosen())
        with release.recording():
            for kept in chosen:
                with self.seen_to(kept):
                    told = release.release(kept)
                    self.failed |= bool(told.get("refused"))
                    self.tell(kept, **told)
                    if self.arguments.delete and not told.get("refused"):
                        kept.store.shelf.remove(kept.id)

    @contextmanager
    def seen_to(self, kept: Kept) -> Iterator[None]:
        """An OSError in the block is told as this entry's, and the next one is gone on with."""
        try:
            yield
        except BrokenPipeError:
            raise  # whoever read our words has gone
        except FileNotFoundError as error:
            gone = not error.filename or kept.id in str(error.filename)
            self.complain(f"{kept.id}: {'has gone meanwhile' if gone else error}")
        except (OSError, ValueError) as error:
            self.complain(f"{kept.id}: {getattr(error, 'strerror', None) or error}{_place(error)}")


def _place(error: Exception) -> str:
    name = getattr(error, "filename", None)
    return f": {name}" if name and getattr(error, "strerror", None) else ""


def _can_be_read(store: Store) -> bool:
    try:
        store.shelf.places()
    except OSError as error:
        print(f"{store.directory}: {error.strerror}", file=sys.stderr)
        return False
    return True
