"""All figures of a report: where there are many records, they are drawn in processes of their own while the report goes on."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import pickle
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.machine.cores import usable_cores
from reports.figures import figures
from reports.figures.figure import Picture, write_figure
from reports.frames.results import Results

MANY = 200
"""Records from which processes are worth their start, which takes about two seconds."""

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How processes start: never as copies of this one, whose threads they would lack."""


def get_ready(records: int) -> None:
    """Start what starts processes, where there will be any: it imports what they need while the records are read.

    Args:
        records: about how many there are.

    """
    if records >= MANY and usable_cores() > 1 and _METHOD == "forkserver":
        multiprocessing.set_forkserver_preload([__name__])
        multiprocessing.forkserver.ensure_running()


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
    content = pickle.dumps(results)  # here, for a thread sends it, while frames are added to the results
    with ProcessPoolExecutor(min(cores, len(shown)), context) as pool:
        drawn = {
            figure.name: pool.submit(_draw, number, content, folder, formats)
            for number, figure in enumerate(shown)
            if figure.by_dataset
        }
        try:
            yield (
                drawn[figure.name].result() if figure.by_dataset else write_figure(figure, results, folder, formats)
                for figure in shown
            )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _draw(number: int, content: bytes, folder: Path, formats: Collection[str]) -> list[Picture]:
    """Draw a figure, by its place in the order of figures: what draws it need not be sent.

    Args:
        number: its place.
        content: the results that it shows, pickled.
        folder: where its files go.
        formats: of these.

    """
    results: Results = pickle.loads(content)
    return write_figure(figures()[number], results, folder, formats)
