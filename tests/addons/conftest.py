"""mitmproxy's addons are imported here once: their use of an old pyparsing argument is a warning, an error in tests."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import mitmproxy.addons  # noqa: F401 - see above
