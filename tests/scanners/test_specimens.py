"""The test viruses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import scanners.specimens
from scanners.specimens import EICAR, GTUBE


def test_eicar_is_the_published_string() -> None:
    """EICAR has the length and digest that everybody publishes."""
    assert len(EICAR) == 68
    assert hashlib.md5(EICAR, usedforsecurity=False).hexdigest() == "44d88612fea8a8f36de82e1278abb02f"


def test_gtube_has_its_length() -> None:
    """GTUBE is 68 characters long, too."""
    assert len(GTUBE) == 68


def test_no_file_of_ours_holds_them() -> None:
    """An antivirus that scans the source finds nothing there."""
    here = Path(scanners.specimens.__file__).parent
    files = [f for f in here.rglob("*") if f.is_file()]
    assert files
    assert not [f for f in files if EICAR in f.read_bytes() or GTUBE in f.read_bytes()]
