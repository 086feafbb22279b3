"""What all tests of reports share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def _no_garbage_to_look_through():
    """Set all objects aside from garbage collection, as a report does: statsmodels collects at every correction, for 0.3 s."""
    gc.freeze()
    yield
    gc.unfreeze()
