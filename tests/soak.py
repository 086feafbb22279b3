"""The soak: kills, pairs of processes, damaged files and a full disk, for up to half an hour; `tox -e soak` prints counts.

    python tests/soak.py                          all of it
    python tests/soak.py --kills 10 --pairs 2 --files 500

What must hold after each: no record is half-written, nothing that was finished is lost, no cell counts twice, the same command
finishes the grid, and its accuracies are those of a grid that was left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.records.storage import read_folder  # noqa: E402

GRID = ("--methods", "random,dm,emd", "--ipc", "1,2", "--seeds", "0,1", "--precision", "fp32", "--threads", "1")
TINY = ("--iterations=3", "--eval-nets=2", "--set=eval.epochs=5", "--set=network.width=8", "--set=match.real_batch=8")
LONG = ("--iterations=400", "--eval-nets=2", "--set=eval.epochs=60", "--set=network.width=8", "--set=match.real_batch=8")

Accuracies = Mapping[str, tuple[float, ...]]


def start(options: Sequence[str], out: Path, **more: object) -> subprocess.Popen[str]:
    """Start the grid in a process of its own."""
    command = [sys.executable, "run_all.py", *GRID, *options, "--out", str(out)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=more.get("before"),  # type: ignore[arg-type]
    )


def finish(options: Sequence[str], out: Path) -> tuple[int, str]:
    """Run the grid to its end; return its exit status and what it said on the standard error."""
    process = start(options, out)
    _, stderr = process.communicate()
    return process.returncode, stderr


def accuracies(out: Path) -> Accuracies:
    """Return the accuracies of each finished cell, by its hash; raise where a file is damaged or a record counts twice."""
    records, problems = read_folder(out / "records")
    assert not problems, problems
    return {record.hash: record.main_evaluation.accuracies for record in records if record.evaluations}


def kills(count: int, folder: Path, generator: random.Random) -> Counter[str]:
    """Kill a grid of long cells at random moments, by any of four signals, and go on with the same command."""
    outcome, out = Counter[str](), folder / "killed"
    status, _ = finish(LONG, folder / "alone")
    assert status == 0
    expected, before = accuracies(folder / "alone"), dict[str, tuple[float, ...]]()
    while outcome["kills"] < count:
        process = start(LONG, out)
        try:
            process.wait(generator.uniform(0.5, 12.0))
        except subprocess.TimeoutExpired:
            number = generator.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
            process.send_signal(number)
            outcome["kills"] += 1
            outcome[f"by {number.name}"] += 1
        _, stderr = process.communicate()
        outcome["tracebacks"] += "Traceback" in stderr
        now = accuracies(out) if (out / "records").is_dir() else {}
        outcome["results lost"] += len(set(before) - set(now))
        before = dict(now)
        if set(now) == set(expected):
            outcome["grids finished"] += 1
            outcome["accuracies that differ"] += sum(now[digest] != expected[digest] for digest in expected)
            out, before = folder / f"killed{outcome['grids finished']}", {}
    status, stderr = finish(LONG, out)
    now = accuracies(out)
    outcome["grids finished"] += status == 0 and set(now) == set(expected)
    outcome["accuracies that differ"] += sum(now.get(digest) != expected[digest] for digest in expected)
    outcome["temporary files left"] = len(list(out.rglob("*.part"))) + len(list(out.rglob("*.resume")))
    return outcome


def pairs(count: int, folder: Path, generator: random.Random) -> Counter[str]:
    """Let two processes run one grid in one folder, the second beginning at a random moment."""
    outcome = Counter[str]()
    grid = (*TINY, "--methods=random,dm")
    status, _ = finish(grid, folder / "alone")
    assert status == 0
    expected = accuracies(folder / "alone")
    for number in range(count):
        out = folder / f"pair{number}"
        first = start(grid, out)
        time.sleep(generator.uniform(0, 6))
        second = start(grid, out)
        ends = [process.communicate()[1] for process in (first, second)]
        outcome["pairs"] += 1
        outcome["processes that failed"] += (first.returncode != 0) + (second.returncode != 0)
        outcome["tracebacks"] += sum("Traceback" in text for text in ends)
        now = accuracies(out)
        outcome["cells lost"] += len(set(expected) - set(now))
        outcome["accuracies that differ"] += sum(now.get(digest) != expected[digest] for digest in expected)
    return outcome


def _truncate(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content))]


def _flip(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(generator.randint(1, 8)):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _noise(content: bytes, generator: random.Random) -> bytes:
    return generator.randbytes(generator.randint(0, 2000))


def _splice(content: bytes, generator: random.Random) -> bytes:
    cut, begin = generator.randrange(len(content)), generator.randrange(len(content))
    return content[:cut] + content[begin:]


def _token(content: bytes, generator: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    words = ["null", "NaN", "-1", "[]", "{}", '""', "1e999", "true", "9" * 400, "[" * 2000]
    numbers = [place for place, sign in enumerate(text) if sign.isdigit()]
    if not numbers:
        return content
    place = generator.choice(numbers)
    return (text[:place] + generator.choice(words) + text[place + 1 :]).encode()


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_truncate, _flip, _noise, _splice, _token)


def damaged_files(count: int, folder: Path, generator: random.Random) -> Counter[str]:
    """Damage records and images in random ways; whatever counts must be one of the whole ones, unchanged."""
    outcome, out = Counter[str](), folder / "files"
    status, _ = finish((*TINY, "--methods=random,emd", "--ipc=1", "--seeds=0"), out)  # few, since all are read each time
    assert status == 0
    records = {record.hash: record for record in read_folder(out / "records")[0]}
    contents = {path: path.read_bytes() for path in sorted((out / "records").iterdir()) if path.is_file()}
    for _ in range(count):
        path = generator.choice(list(contents))
        change = generator.choice(CHANGES)
        path.write_bytes(change(contents[path], generator))
        changed = path.read_bytes() != contents[path]
        outcome["files"] += 1
        outcome[f"files by {change.__name__.strip('_')}"] += 1
        read, problems = read_folder(out / "records")
        wrong = [record for record in read if record != records.get(record.hash)]
        outcome["damage believed"] += len(wrong)
        same_meaning = path.suffix == ".json" and len(read) == len(records) and not wrong  # only white space changed
        outcome["damage not named"] += changed and not problems and not same_meaning
        path.write_bytes(contents[path])
    assert {record.hash: record for record in read_folder(out / "records")[0]} == records
    return outcome


def full_disk(folder: Path) -> Counter[str]:
    """Let no file grow above 0, 1, 2, ... KiB, as on a disk that is full at that moment; then finish with the same command."""
    outcome = Counter[str]()
    for kibibytes in (0, 1, 2, 4, 8):
        out = folder / f"full{kibibytes}"

        def limit(size: int = kibibytes * 1024) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        process = start(TINY, out, before=limit)
        _, stderr = process.communicate()
        outcome["runs on a full disk"] += 1
        outcome["clear lines"] += "cannot" in stderr.splitlines()[-1]
        outcome["tracebacks"] += "Traceback" in stderr
        accuracies(out)  # nothing is half written
        status, _ = finish(TINY, out)
        outcome["finished later"] += status == 0
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; return 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 100), ("pairs", 20), ("files", 10_000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    generator, begin, outcomes = random.Random(options.seed), time.monotonic(), dict[str, Counter[str]]()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, work in {
            "damaged files": lambda: damaged_files(options.files, folder / "a", generator),
            "a full disk": lambda: full_disk(folder / "b"),
            "pairs of processes": lambda: pairs(options.pairs, folder / "c", generator),
            "kills": lambda: kills(options.kills, folder / "d", generator),
        }.items():
            outcomes[title] = work()
            sys.stdout.write(f"{title}: {json.dumps(outcomes[title])} ({time.monotonic() - begin:.0f} s)\n")
            sys.stdout.flush()
    bad = ("tracebacks", "results lost", "accuracies that differ", "cells lost", "processes that failed", "damage believed")
    bad += ("damage not named", "temporary files left")
    wrong = {f"{title}: {name}": outcome[name] for title, outcome in outcomes.items() for name in bad if outcome[name]}
    sys.stdout.write(f"what did not hold: {wrong or 'nothing'}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
