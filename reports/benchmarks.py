"""`python -m reports --benchmarks benchmarks.json`: what `tox -e bench` measured, as tables beside the goals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reports.measurements import Measurement, Run, read_benchmarks
from reports.scaling import QUANTITIES, plot_scaling, scaling_markdown


def _ratio(run: Run, entry: Measurement) -> float | None:
    reference = run.of(entry.group, "reference")
    return reference[0].seconds / entry.seconds if reference else None


def _share(precision: str) -> Callable[[Run, Measurement], float | None]:
    """Return the measure: percent of the rate of the matrix product in `precision`."""

    def measure(run: Run, entry: Measurement) -> float | None:
        most = run.gemm(precision)
        return None if most is None or entry.rate is None else 100 * entry.rate / most

    return measure


def _floors(run: Run, entry: Measurement) -> float | None:
    """Return how many times the seconds that the work takes at the rate of the matrix product in its own precision."""
    share = _share(entry.precision)(run, entry)
    return None if share is None else 100 / share


def _iterations(run: Run, entry: Measurement) -> float | None:
    """Return how many of our DM iterations it takes: of the iteration in its precision, or the fastest."""
    ours = run.of("dm iteration", "fast")
    if len(run.of(entry.group, "fast")) > 1:
        ours = [dm for dm in ours if dm.precision == entry.precision]
    return entry.seconds / min(dm.seconds for dm in ours) if ours else None


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
    Goal("start-up", "`run_all.py --list`", lambda run, entry: entry.seconds, "at most", 1.5, "seconds"),
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
        for entry in entries:
            lines.append(_speed_row(run, goal, entry))
    if missing:
        lines += ["", f"Not measured in this run: {'; '.join(dict.fromkeys(missing))}."]
    return "\n".join(lines) + "\n"


def _speed_row(run: Run, goal: Goal, entry: Measurement) -> str:
    reference, value = run.of(goal.group, "reference"), goal.measure(run, entry)
    verdict = "unknown" if value is None else f"{'yes' if goal.reached(value) else 'no'}: {value:.3g}"
    cells = (
        goal.what,
        entry.precision,
        _seconds(reference[0].seconds) if reference else "",
        _seconds(entry.seconds),
        _number(_ratio(run, entry), ".2f"),
        _number(None if entry.rate is None else entry.rate / 1e9, ".0f"),
        _number(_share(entry.precision)(run, entry), ".0f"),
        f"{goal.sense} {goal.limit:g} {goal.unit}",
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def memory_markdown(run: Run) -> str:
    """Return the table of peak memory, or nothing where none was measured."""
    entries = [entry for entry in run.of("memory", "fast") if entry.peak_mib is not None and entry.limit_mib is not None]
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
    for entry in entries:
        assert entry.peak_mib is not None
        assert entry.limit_mib is not None
        under = "yes" if entry.peak_mib < entry.limit_mib else "no"
        lines.append(f"| {entry.loss} | {entry.seconds:.1f} | {entry.peak_mib:.0f} | {entry.limit_mib:.0f} | {under} |")
    return "\n".join(lines) + "\n"


def write_benchmarks(path: Path, out: Path) -> Path:
    """Write `<out>/report/benchmarks.md`, and plots beside it, from a file of benchmarks; return the page.

    Raise `UsageError` where the file is missing or holds no benchmarks.
    """
    run = read_benchmarks(path)
    report = out / "report"
    report.mkdir(parents=True, exist_ok=True)
    parts = [f"# Speed and memory\n\n{run.where}\n", speed_markdown(run), memory_markdown(run)]
    points = run.of("scaling", "fast")
    for quantity in QUANTITIES:
        picture = report / f"benchmarks_{quantity}.png"
        picture.unlink(missing_ok=True)  # it may be of another run
        if plot_scaling(points, quantity, picture):
            parts.append(scaling_markdown(points, quantity, picture.name))
    page = report / "benchmarks.md"
    page.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return page
