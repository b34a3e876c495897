"""How the built-in engine's own processes are started.

Rule of this file: by the path of the script, so that it is found wherever Python's path has us from, and without the
script's folder on the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("worker.py")))
