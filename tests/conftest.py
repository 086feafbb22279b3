"""Puts the repository's root on the path: the packages are run in place, not installed."""

import fcntl
import gc
import json
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


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Return a function `(name, make)` that returns a folder, and what `make(folder)` returned when it filled it: JSON.

    `make` runs once in a session, whichever of pytest-xdist's processes asks first, while the others wait. Tests only read the
    folder, or copy it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def call(name, make):
        folder, result = root / "once" / name, root / "once" / f"{name}.json"
        folder.mkdir(parents=True, exist_ok=True)
        with (root / "once" / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not result.exists():
                result.write_text(json.dumps(make(folder)))
        return folder, json.loads(result.read_text())

    return call


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


@pytest.fixture(scope="module", autouse=True)
def modules_set_aside():
    """Keep the objects of imported modules out of garbage collection, which would look through them: 0.2 s each time."""
    gc.collect()
    gc.freeze()


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
