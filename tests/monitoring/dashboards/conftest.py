"""Makes the packages beside `tests/` importable: they are no part of what is installed."""

import sys

from support.project import ROOT

sys.path.insert(0, str(ROOT))
