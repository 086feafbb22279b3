"""No test of this folder may reach the network or write into the user's cache folder.

A download that is tried must fail at once.
"""

import urllib.request
from urllib.error import URLError

import pytest


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*arguments, **options):
        raise URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture(autouse=True)
def user_cache(monkeypatch, tmp_path_factory):
    """Return the folder that stands for the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("datasets.fingerprint.platformdirs.user_cache_path", lambda application: folder / application)
    return folder
