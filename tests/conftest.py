"""Puts the repository's root on the path: the packages are run in place, not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
