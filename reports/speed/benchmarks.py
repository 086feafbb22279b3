"""`python -m reports --benchmarks benchmarks.json`: what `tox -e bench` measured, as tables beside the goals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import matplotlib

from reports.figures.figure import STYLE, write_drawing
from reports.frames.reading import read_records
from reports.frames.results import Results
from reports.speed.measurements import Measurement, Run, read_benchmarks
from reports.speed.scaling import QUANTITIES, crossovers, draw_scaling, scaling_table
from reports.swap import swapped
from reports.tables.reached import reached_table
from reports.tables.table import Row, Table, TableCell, environment
from reports.verdicts.reached import reached_frame


def _ratio(run: Run, entry: Measurement) -> float | None:
    reference = run.of(entry.group, "reference")
    return reference[0].seconds / entry.seconds if reference else None


def _own_share(run: Run, entry: Measurement) -> float | None:
    """Return the percent of the rate of the matrix product, measured in the same run for each precision."""
    if entry.flops is None:
        return None
    operations = (entry.precision, entry.flops - entry.float32_flops), ("fp32", entry.float32_flops)
    rates = [(flops, run.gemm(precision)) for precision, flops in operations if flops]
    seconds = [flops / rate for flops, rate in rates if rate]  # in each precision, at the rate of the product
    return 100 * sum(seconds) / entry.seconds if len(seconds) == len(rates) else None


def _iterations(run: Run, entry: Measurement, *, group: str = "dm iteration") -> float | None:
    """Return its seconds over those of our DM iteration, measured as `group`, in the same precision or else the fastest."""
    ours = run.of(group, "fast")
    if len(run.of(entry.group, "fast")) > 1:
        ours = [dm for dm in ours if dm.precision == entry.precision]
    return entry.seconds / min(dm.seconds for dm in ours) if ours else None


def _small_iterations(run: Run, entry: Measurement) -> float | None:
    return _iterations(run, entry, group="dm iteration 64 + 1")


@dataclass(frozen=True)
class Goal:
    """The goal of a group: a measure, in `unit`, and its limit."""

    group: str
    what: str
    measure: Callable[[Run, Measurement], float | None]
    sense: Literal["at least", "at most"]
    limit: float
    unit: str

    def reached(self, value: float) -> bool:
        """Return whether `value` is on the right side of the limit."""
        return value >= self.limit if self.sense == "at least" else value <= self.limit


_TRANSPORT = [
    Goal(
        f"{name} 256 x {m}", f"{label} loss and gradient, 10 classes, 256 x {m}", _iterations, "at most", 0.15, "DM iterations"
    )
    for name, label in (("sinkhorn", "Sinkhorn"), ("emd", "EMD"))
    for m in (10, 50)
]


def _near_the_product(group: str, what: str) -> Goal:
    """Return the goal of a path that consists almost entirely of products and convolutions."""
    return Goal(group, what, _own_share, "at least", 80, "% of the matrix product's rate")


GOALS = (
    _near_the_product("dm iteration", "DM iteration, 10 classes x 256 real, IPC 10, 28x28"),
    _near_the_product("dm iteration 64 + 1", "DM iteration, 10 classes x 64 real, IPC 1"),
    _near_the_product("real features", "features of its 2,560 real images"),
    _near_the_product("synthetic features", "features of its 100 synthetic images and their gradient"),
    _near_the_product("kr critics 64 + 1", "KR critics, 10 classes, 100 steps, 64 real + 1"),
    _near_the_product("kr critics 256 + 10", "KR critics, 10 classes, 100 steps, 256 real + 10"),
    Goal("kr iteration", "KR iteration, 256 real, IPC 10", _iterations, "at most", 2.5, "DM iterations"),
    Goal("kr iteration 64 + 1", "KR iteration, 64 real, IPC 1", _small_iterations, "at most", 1.8, "DM iterations"),
    *_TRANSPORT,
    _near_the_product("epoch over 100 images", "evaluation epoch over 100 images"),
    _near_the_product("epoch over 10 images", "evaluation epoch over 10 images"),
    _near_the_product("test pass", "test pass over 10,000 images"),
    Goal("start-up", "run_all.py --list", lambda run, entry: entry.seconds, "at most", 1.5, "seconds"),
)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def speed_table(run: Run) -> Table:
    """Return the table of comparisons: a row for each fast path and goal that was measured."""
    rates = [f"{name} {rate / 1e9:.0f} GFLOP/s" for name in ("fp32", "bf16") if (rate := run.gemm(name)) is not None]
    measured = [(goal, run.of(goal.group, "fast")) for goal in GOALS]
    missing = [goal.what for goal, entries in measured if not entries]
    return Table(
        name="benchmarks_speed",
        title="Fast paths beside the plain reference",
        label_heads=("what", "precision"),
        heads=("reference", "ours", "ratio", "GFLOP/s", "% of GEMM", "goal", "reached?"),
        rows=tuple(_speed_row(run, goal, entry) for goal, entries in measured for entry in entries),
        caption=(
            f"Matrix product of 2048 x 2048, measured in the same run: {', '.join(rates) or 'not measured'}. The reference is "
            "tests/perf/reference.py: loops over classes, of modules, in float32. Seconds are medians; GFLOP/s count "
            "multiplications and additions of convolutions and matrix products, of KR's critics also those that are skipped. "
            "% of GEMM is 100 if a path takes as long as the matrix product takes for as many operations in these precisions; "
            "in matching, synthetic images are in float32.",
            *((f"Not measured in this run: {'; '.join(missing)}.",) if missing else ()),
        ),
        text_columns=(0, 1),
        level=2,
    )


def _speed_row(run: Run, goal: Goal, entry: Measurement) -> Row:
    reference, value = run.of(goal.group, "reference"), goal.measure(run, entry)
    verdict = "unknown" if value is None else f"{'yes' if goal.reached(value) else 'no'}: {value:.3g}"
    cells = (
        TableCell(label=_seconds(reference[0].seconds) if reference else ""),
        TableCell(label=_seconds(entry.seconds)),
        TableCell(value=_ratio(run, entry), digits=2),
        TableCell(value=None if entry.rate is None else entry.rate / 1e9, digits=0),
        TableCell(value=_own_share(run, entry), digits=0),
        TableCell(label=f"{goal.sense} {goal.limit:g} {goal.unit}"),
        TableCell(label=verdict),
    )
    return Row((goal.what, entry.precision), cells)


def memory_table(run: Run) -> Table | None:
    """Return the table of peak memory, or None if none was measured."""
    rows = []
    for entry in run.of("memory", "fast"):
        if entry.peak_mib is not None and entry.limit_mib is not None:
            numbers = (
                TableCell(value=entry.seconds),
                *(TableCell(value=mib, digits=0) for mib in (entry.peak_mib, entry.limit_mib)),
            )
            under = TableCell(label="yes" if entry.peak_mib < entry.limit_mib else "no")
            rows.append(Row((entry.loss,), (*numbers, under)))
    if not rows:
        return None
    return Table(
        name="benchmarks_memory_limit",
        title="Memory of an iteration with 100 classes x 256 real images, IPC 10",
        label_heads=("loss",),
        heads=("seconds", "peak MiB", "limit MiB", "under it?"),
        rows=tuple(rows),
        caption=(
            "Peak of the process in that iteration, libraries and compiler included; seconds of the one call, compiling "
            "included.",
        ),
        level=2,
    )


_SIZE = ("mnist", "fashionmnist")
"""The datasets whose images have the size of those in the benchmark of an iteration, 28 x 28 with one channel."""

_HEADLINE = (
    "Beside it: real images a class and seconds of an iteration of these cells, and seconds of an iteration of the plain "
    "reference in this run of the benchmarks, where images are 28 x 28: 10 classes x 256 real, IPC 10. Of Sinkhorn and EMD "
    "that is its DM iteration and its loss, which are measured apart."
)


def headline(results: Results, run: Run) -> Table | None:
    """Return the time to the published accuracy, with the reference's seconds an iteration; None without checkpoints."""
    table = reached_table(results)
    if table is None:
        return None
    rows = [
        replace(row, cells=(*row.cells, *_speed_cells(run, values)))
        for row, values in zip(table.rows, reached_frame(results).to_dict("records"), strict=True)
    ]
    return replace(
        table,
        name="benchmarks_reached",
        heads=(*table.heads, "real a class", "s / iteration", "plain reference (s / iteration)"),
        rows=tuple(rows),
        caption=(*table.caption, _HEADLINE),
        level=2,
    )


def _speed_cells(run: Run, values: Mapping[Hashable, Any]) -> tuple[TableCell, ...]:
    """Return the cells that the headline adds to a row of the table of time to the published accuracy.

    Args:
        run: the benchmarks.
        values: the row.

    """
    seconds = reference_iteration(run, values["method"]) if values["dataset"] in _SIZE else None
    return (
        TableCell(value=values["real_batch"], digits=0),
        TableCell(value=values["seconds_per_iteration"], digits=3),
        TableCell(value=seconds, digits=3),
    )


def reference_iteration(run: Run, method: str) -> float | None:
    """Return the seconds of an iteration of the plain reference, or None if the run has not measured it.

    If the iteration of a loss was not measured itself, it is DM's iteration and the loss, which were measured apart.
    """
    own = run.of(f"{method} iteration", "reference")
    measured = [own] if own else [run.of("dm iteration", "reference"), run.of(f"{method} 256 x 10", "reference")]
    return sum(entries[0].seconds for entries in measured) if all(measured) else None


@dataclass(frozen=True)
class PageSection:
    """A section of the page: a table, the stem of the picture beside it, if there is one, and lines below it."""

    table: Table
    picture: str = ""
    lines: Sequence[str] = ()


def write_benchmarks(path: Path, *outs: Path, target: Path | None = None) -> Path:
    """Write `<out>/report/benchmarks.md` from a file of benchmarks, and figures beside it; return the page.

    Args:
        path: the file.
        outs: folders whose `records/` say how long cells take to the published accuracy; they may have none.
        target: the folder of the report; `report/` in the first folder if it is None.

    Raises:
        UsageError: if the file is missing or has no benchmarks, or the report cannot be written.

    """
    run = read_benchmarks(path)
    records = read_records(outs, may_be_none=True).records
    first = headline(Results.of(records), run) if records else None
    report = target or outs[0] / "report"
    with swapped(report, lambda file: file.name.startswith("benchmarks_") or str(file) == "benchmarks.md") as new:
        (new / "figures").mkdir()
        content = {"run": run.description, "headline": first, "sections": _sections(run, new)}
        page = environment().get_template("benchmarks.md").render(content)
        (new / "benchmarks.md").write_text(page, encoding="utf-8")
    return report / "benchmarks.md"


def _sections(run: Run, report: Path) -> list[PageSection]:
    """Return the sections of the page, and write their figures.

    Args:
        run: the measurements.
        report: the folder of the report.

    """
    memory, points = memory_table(run), run.of("scaling", "fast")
    sections = [PageSection(speed_table(run)), *((PageSection(memory),) if memory else ())]
    with matplotlib.rc_context(STYLE):
        for quantity in QUANTITIES:
            drawing = draw_scaling(points, quantity)
            if drawing is not None:
                write_drawing(drawing, report / "figures", f"benchmarks_{quantity}")
                lines = crossovers(points) if quantity == "time" else ()
                sections.append(PageSection(scaling_table(points, quantity), f"figures/benchmarks_{quantity}", lines))
    return sections
