"""The script of the processes that the built-in engine starts: `worker.py`, or `worker.py compile PATH`.

Rules of this file: it is run by its path, whatever Python's path was in the process that starts it; it holds no logic
of its own; nothing imports it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

_ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(_ROOT))
# Of the policy only the words for a verdict are used here: its model would take 30 MB and a third of a second.
_POLICY = ModuleType("policy")
_POLICY.__path__ = [str(_ROOT / "policy")]
sys.modules["policy"] = _POLICY

if __name__ == "__main__":
    if sys.argv[1:2] == ["compile"]:
        from scanners.builtin.compilation import main
    else:
        from scanners.builtin.service import main
    main()
