"""The script that `mitmdump -s addons/av.py` loads.

mitmproxy puts only this folder on its path, and runs the file anew when it changes: so it finds the repository,
once, and holds no logic of its own. What it imports is not reloaded; the policy has its own reload (SIGHUP).
"""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent.parent)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from addons.antivirus import AntivirusAddon  # noqa: E402 - the path comes first

addons = [AntivirusAddon()]
