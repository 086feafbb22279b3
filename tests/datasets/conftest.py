"""No test of this folder may reach the network, and a download that is tried must fail at once."""

import urllib.request
from urllib.error import URLError

import pytest


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*arguments, **options):
        raise URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
