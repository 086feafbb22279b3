"""All figures of a report: where there are many records, they are drawn in processes of their own while the report goes on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cores import usable_cores
from reports.figures import figures
from reports.figures.figure import Picture, write_figure
from reports.results import Results

MANY = 200
"""Records from which processes are worth their start, which takes about two seconds."""

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How processes start: never as copies of this one, whose threads they would lack."""


@dataclass(frozen=True)
class _Work:
    """What a process draws figures of, and where it writes them in which formats."""

    results: Results
    folder: Path
    formats: Collection[str]


_work: _Work | None = None
"""In a process that draws figures: its work, which is sent to it once, however many figures it draws."""


@contextmanager
def figures_drawn(results: Results, folder: Path, formats: Collection[str]) -> Iterator[Iterable[list[Picture]]]:
    """Yield the pictures of each figure, in the order of figures; they may be drawn while the block goes on.

    Processes draw the figures with a picture for each dataset. The few others are drawn here, from what tables need too.

    Args:
        results: what they show.
        folder: where their files go.
        formats: of these.

    """
    shown, cores = figures(), usable_cores()
    if len(results.records) < MANY or cores < 2:
        yield (write_figure(figure, results, folder, formats) for figure in shown)
        return
    context = multiprocessing.get_context(_METHOD)
    if _METHOD == "forkserver":
        context.set_forkserver_preload([__name__])
    work = _Work(results, folder, formats)
    with ProcessPoolExecutor(min(cores, len(shown)), context, _prepare, (work,)) as pool:
        drawn = {figure.name: pool.submit(_draw, number) for number, figure in enumerate(shown) if figure.by_dataset}
        try:
            yield (
                drawn[figure.name].result() if figure.by_dataset else write_figure(figure, results, folder, formats)
                for figure in shown
            )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _prepare(work: _Work) -> None:
    """Take the work of this process."""
    global _work
    _work = work


def _draw(number: int) -> list[Picture]:
    """Draw a figure, by its place in the order of figures."""
    assert _work is not None
    return write_figure(figures()[number], _work.results, _work.folder, _work.formats)
