"""The rules are built by a package at the root of the repository, which is no part of what is installed."""

import sys

from support.project import ROOT

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
