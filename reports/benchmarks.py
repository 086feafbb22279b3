"""`python -m reports --benchmarks benchmarks.json`: what `tox -e bench` measured, as tables beside the goals.

Every entry of the file says in its `extra_info` which side of a comparison it is (`kind`: `fast`, `reference`, or `rate` for
the machine's matrix product), and where it applies `flops` of one round, `units` (steps in a round), `precision`, and for the
scaling of a loss `loss`, `sizes`, `base` and `peak_mib`. Seconds are medians over rounds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.errors import UsageError

HOW = "valid: the path of a file that `tox -e bench` wrote"


@dataclass(frozen=True)
class Measurement:
    """One benchmark: median `seconds` of one unit of work, over `rounds`, and `flops` of that unit, where they are known."""

    group: str
    name: str
    kind: str
    seconds: float
    rounds: int
    flops: float | None = None
    precision: str = "fp32"
    loss: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    base: Mapping[str, int] = field(default_factory=dict)
    peak_mib: float | None = None
    limit_mib: float | None = None

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Measurement:
        """Return what an entry of the file says; raise `KeyError`, `TypeError` or `ValueError` where it is none."""
        about = plain["extra_info"]
        units, seconds = float(about.get("units", 1)), float(plain["stats"]["median"])
        if not (seconds > 0 and units > 0):
            raise ValueError(f"{plain['name']}: its median is {seconds} seconds over {units} units")
        return cls(
            group=str(plain["group"]),
            name=str(plain["name"]),
            kind=str(about["kind"]),
            seconds=seconds / units,
            rounds=int(plain["stats"]["rounds"]),
            flops=None if about.get("flops") is None else float(about["flops"]) / units,
            precision=about.get("precision", "fp32"),
            **{key: about[key] for key in ("loss", "sizes", "base", "peak_mib", "limit_mib") if key in about},
        )

    @property
    def rate(self) -> float | None:
        """Floating-point operations a second."""
        return None if self.flops is None else self.flops / self.seconds


@dataclass(frozen=True)
class Run:
    """All measurements of one run on one machine, and a line that says when, where and on what code."""

    measurements: tuple[Measurement, ...]
    where: str

    def of(self, group: str, kind: str) -> list[Measurement]:
        """Return the measurements of one side of a comparison."""
        return [one for one in self.measurements if (one.group, one.kind) == (group, kind)]

    def gemm(self, precision: str) -> float | None:
        """Return the measured rate of the matrix product in that precision."""
        return next((one.rate for one in self.of("gemm", "rate") if one.precision == precision), None)


def read_benchmarks(path: Path) -> Run:
    """Return the run in a file of pytest-benchmark; raise `UsageError` where there is none. Other entries are left out."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        entries = plain["benchmarks"]
        found = tuple(Measurement.of(entry) for entry in entries if "kind" in entry.get("extra_info", {}))
    except OSError as error:
        raise UsageError(f"--benchmarks {str(path)!r} cannot be read ({error.strerror}); {HOW}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"--benchmarks {str(path)!r} is no file of benchmarks ({reason}); {HOW}") from None
    if not found:
        raise UsageError(f"--benchmarks {str(path)!r} holds no benchmark of this suite; {HOW}")
    return Run(found, _where(plain))


def _where(plain: Mapping[str, Any]) -> str:
    machine, commit = plain.get("machine_info") or {}, plain.get("commit_info") or {}
    code = str(commit.get("id", "unknown"))[:12] + (" with changes" if commit.get("dirty") else "")
    return (
        f"{machine.get('cpu', 'unknown processor')}, {machine.get('threads', machine.get('cores', '?'))} threads; "
        f"torch {machine.get('torch', 'unknown')}; `--precision auto` is {machine.get('precision', 'fp32')}; "
        f"{str(plain.get('datetime', 'no date'))[:19]}; commit {code}."
    )


def _ratio(run: Run, one: Measurement) -> float | None:
    plain = run.of(one.group, "reference")
    return plain[0].seconds / one.seconds if plain else None


def _share(precision: str) -> Callable[[Run, Measurement], float | None]:
    """Return the measure: percent of the rate of the matrix product in `precision`."""

    def measure(run: Run, one: Measurement) -> float | None:
        most = run.gemm(precision)
        return None if most is None or one.rate is None else 100 * one.rate / most

    return measure


def _floors(run: Run, one: Measurement) -> float | None:
    """Return how many times the seconds that the work takes at the rate of the matrix product in its own precision."""
    share = _share(one.precision)(run, one)
    return None if share is None else 100 / share


def _iterations(run: Run, one: Measurement) -> float | None:
    """Return how many of our DM iterations it takes: the one in its precision, or the fastest where it has but one."""
    ours = run.of("dm iteration", "fast")
    if len(run.of(one.group, "fast")) > 1:
        ours = [dm for dm in ours if dm.precision == one.precision]
    return one.seconds / min(dm.seconds for dm in ours) if ours else None


@dataclass(frozen=True)
class Goal:
    """What a group is to reach: a measure, in `unit`, and its limit."""

    group: str
    what: str
    measure: Callable[[Run, Measurement], float | None]
    sense: Literal["at least", "at most"]
    limit: float
    unit: str

    def reached(self, value: float) -> bool:
        """Return whether `value` is on the right side of the limit."""
        return value >= self.limit if self.sense == "at least" else value <= self.limit


_TIMES = "times faster"
_TRANSPORT = [
    Goal(
        f"{name} 256 x {m}", f"{label} loss and gradient, 10 classes, 256 x {m}", _iterations, "at most", 0.15, "DM iterations"
    )
    for name, label in (("sinkhorn", "Sinkhorn"), ("emd", "EMD"))
    for m in (10, 50)
]
GOALS = (
    Goal("dm iteration", "DM iteration, 10 classes x 256 real, IPC 10, 28x28", _ratio, "at least", 4.5, _TIMES),
    Goal("real features", "features of its 2,560 real images", _share("bf16"), "at least", 75, "% of the bf16 GEMM rate"),
    Goal("kr critics 64 + 1", "KR critics, 10 classes, 100 steps, 64 real + 1", _ratio, "at least", 6, _TIMES),
    Goal("kr critics 256 + 10", "KR critics, 10 classes, 100 steps, 256 real + 10", _ratio, "at least", 3, _TIMES),
    Goal("kr critics 256 + 10", "the same", _floors, "at most", 1.5, "GEMM floors"),
    Goal("kr iteration", "KR iteration, 256 real, IPC 10", _iterations, "at most", 2.5, "DM iterations"),
    *_TRANSPORT,
    Goal("epoch over 100 images", "evaluation epoch over 100 images", _ratio, "at least", 3, _TIMES),
    Goal("epoch over 10 images", "evaluation epoch over 10 images", _ratio, "at least", 2, _TIMES),
    Goal("test pass", "test pass over 10,000 images", _ratio, "at least", 5, _TIMES),
    Goal("start-up", "`run_all.py --list`", lambda run, one: one.seconds, "at most", 1.5, "seconds"),
)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def speed_markdown(run: Run) -> str:
    """Return the table of comparisons: a row for each fast path and goal that was measured."""
    rates = [f"{name} {rate / 1e9:.0f} GFLOP/s" for name in ("fp32", "bf16") if (rate := run.gemm(name)) is not None]
    lines = [
        "## Fast paths beside the plain reference",
        "",
        f"Matrix product of 2048 x 2048, measured in the same run: {', '.join(rates) or 'not measured'}. The reference is "
        "`tests/perf/reference.py`: loops over classes, of modules, in float32. Seconds are medians; GFLOP/s count "
        "multiplications and additions of convolutions and matrix products; % of GEMM is in the path's own precision.",
        "",
        "| what | precision | reference | ours | ratio | GFLOP/s | % of GEMM | goal | reached? |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    missing = []
    for goal in GOALS:
        entries = run.of(goal.group, "fast")
        if not entries:
            missing.append(goal.what if goal.what != "the same" else goal.group)
        for one in entries:
            lines.append(_speed_row(run, goal, one))
    if missing:
        lines += ["", f"Not measured in this run: {'; '.join(dict.fromkeys(missing))}."]
    return "\n".join(lines) + "\n"


def _speed_row(run: Run, goal: Goal, one: Measurement) -> str:
    plain, value = run.of(goal.group, "reference"), goal.measure(run, one)
    verdict = "unknown" if value is None else f"{'yes' if goal.reached(value) else 'no'}: {value:.3g}"
    cells = (
        goal.what,
        one.precision,
        _seconds(plain[0].seconds) if plain else "",
        _seconds(one.seconds),
        _number(_ratio(run, one), ".2f"),
        _number(None if one.rate is None else one.rate / 1e9, ".0f"),
        _number(_share(one.precision)(run, one), ".0f"),
        f"{goal.sense} {goal.limit:g} {goal.unit}",
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def memory_markdown(run: Run) -> str:
    """Return the table of peak memory, or nothing where none was measured."""
    entries = [one for one in run.of("memory", "fast") if one.peak_mib is not None and one.limit_mib is not None]
    if not entries:
        return ""
    lines = [
        "## Memory of an iteration with 100 classes x 256 real images, IPC 10",
        "",
        "Peak of the process in that iteration, libraries and compiler included; seconds of the one call, compiling included.",
        "",
        "| loss | seconds | peak MiB | limit MiB | under it? |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for one in entries:
        assert one.peak_mib is not None
        assert one.limit_mib is not None
        under = "yes" if one.peak_mib < one.limit_mib else "no"
        lines.append(f"| {one.loss} | {one.seconds:.1f} | {one.peak_mib:.0f} | {one.limit_mib:.0f} | {under} |")
    return "\n".join(lines) + "\n"


def write_benchmarks(path: Path, out: Path) -> Path:
    """Write `<out>/report/benchmarks.md`, and plots beside it, from a file of benchmarks; return the page.

    Raise `UsageError` where the file is missing or holds no benchmarks.
    """
    run = read_benchmarks(path)
    from reports.scaling import plot_scaling, scaling_markdown

    report = out / "report"
    report.mkdir(parents=True, exist_ok=True)
    parts: Sequence[str] = [f"# Speed and memory\n\n{run.where}\n", speed_markdown(run), memory_markdown(run)]
    points = run.of("scaling", "fast")
    for quantity in ("time", "memory"):
        picture = report / f"benchmarks_{quantity}.png"
        picture.unlink(missing_ok=True)  # what an earlier report of another run left
        if plot_scaling(points, quantity, picture):
            parts = [*parts, scaling_markdown(points, quantity, picture.name)]
    page = report / "benchmarks.md"
    page.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return page
