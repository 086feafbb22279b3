"""Puts the repository's root on the path: the packages are run in place, not installed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

settings.register_profile("suite", derandomize=True, deadline=None)  # a test gives the same verdict each time
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep the cache of fingerprints out of the user's own: in a folder that all tests of a session share."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


def _as_in_a_terminal():
    # A test run in a shell's background, or under nohup, ignores these, and its children would too; a user's terminal does not.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def start():
    """Return a function that starts `python ARGUMENTS` in a checkout, the repository's unless another one is named."""

    def begin(*arguments, root=ROOT, **environment):
        kept = {name: value for name, value in os.environ.items() if name not in ("DATA_ROOT", "RAY_ADDRESS")}
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=root,
            env=kept | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            preexec_fn=_as_in_a_terminal,
        )

    return begin


@pytest.fixture(scope="session")
def command(start):
    """Return a function that runs `python ARGUMENTS` to its end: exit status, standard output, standard error."""

    def call(*arguments, **options):
        with start(*arguments, **options) as process:
            try:
                out, err = process.communicate(timeout=300)
            except BaseException:
                process.kill()
                raise
        return process.returncode, out, err

    return call
