"""The distilled images: for each dataset and IPC a gallery with a sheet for each method."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.machine.cores import usable_cores
from bench.records.record import RunRecord
from reports.frames.names import Column, dataset_rank
from reports.frames.results import Results
from reports.page.sheets import MOST, Drawn, draw_sheet, file_name

_TILE = 56
"""Pixels of the screen that an image takes at most, before zooming."""

_ACROSS = 320
"""Pixels of the screen that a sheet takes at most, if its images are small enough."""


@dataclass(frozen=True)
class Sheet:
    """A picture of one set, or of one start that several methods share.

    `title`: its methods. `file`: its file beside the page. `rms`: root mean square of the set in normalised units.
    `clipped`: the percentage of values outside [0, 1]. `most`: the number of images of its largest class. `column`: its method
    and variant; None for a start.
    """

    title: str
    file: str
    rms: float
    clipped: float
    most: int
    column: Column | None


@dataclass(frozen=True)
class Gallery:
    """The sheets of one dataset and IPC whose images have one size and the same classes.

    `width`, `height`: of each sheet, in its own pixels. `scale`: pixels of the screen for each of these, at first.
    """

    dataset: str
    ipc: int
    title: str
    classes: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    width: int
    height: int
    scale: int

    @property
    def cut(self) -> bool:
        """Whether a class has more images than are shown."""
        return any(sheet.most > MOST for sheet in self.sheets)


@dataclass(frozen=True)
class _Set:
    """A set that was drawn: its record and column, the iteration (None: the end), and its sheet."""

    record: RunRecord
    column: Column
    iteration: int | None
    drawn: Drawn


def write_images(results: Results, folders: Mapping[str, Path], target: Path, left_out: list[str]) -> list[Gallery]:
    """Draw the distilled images of one seed of each dataset, IPC and column; return what the page shows of them.

    Args:
        results: the records.
        folders: the folder of each record and its images, by hash.
        target: the folder of the pictures.
        left_out: a line is added for each file that cannot be drawn.

    """
    galleries = []
    with ThreadPoolExecutor(usable_cores()) as pool:  # what takes the time, numpy and zlib, lets other threads run
        for cell, records in _shown_records(results, folders).items():
            outcomes = pool.map(lambda pair: _draw(pair[1], pair[0], folders), records.items())
            groups: dict[tuple[object, ...], list[_Set]] = defaultdict(list)
            for sets, problems in outcomes:
                left_out += problems
                for drawn_set in sets:
                    groups[drawn_set.drawn.classes, drawn_set.drawn.shape].append(drawn_set)
            galleries += [_gallery(cell, members, results, target) for members in groups.values()]
    return galleries


def _shown_records(results: Results, folders: Mapping[str, Path]) -> dict[tuple[str, int], dict[Column, RunRecord]]:
    """Return the records whose images are shown: of the seed that most columns have, or else the first of the column."""
    records = [record for record in results.records if record.hash in results.shown and record.spec.ipc is not None]
    variants = results.main_variants
    seeds: dict[tuple[str, int], dict[Column, dict[int, RunRecord]]] = defaultdict(lambda: defaultdict(dict))
    for record in sorted(records, key=lambda record: record.hash):
        if (folders[record.hash] / record.images_name).is_file():
            column = Column(record.spec.method, variants[record.hash])
            seeds[record.spec.dataset, record.spec.ipc or 0][column].setdefault(record.spec.seed, record)
    shown = {}
    for cell in sorted(seeds, key=lambda cell: (dataset_rank(cell[0]), cell[1])):
        columns = seeds[cell]
        counts = Counter(seed for own in columns.values() for seed in own)
        common = min(counts, key=lambda seed: (-counts[seed], seed))
        ordered = sorted(columns, key=results.names.column_rank)
        shown[cell] = {column: columns[column].get(common) or min(columns[column].items())[1] for column in ordered}
    return shown


def _draw(record: RunRecord, column: Column, folders: Mapping[str, Path]) -> tuple[list[_Set], list[str]]:
    """Return a record's images at the start, if they were kept, and at the end, and a line for each file that cannot be drawn.

    Args:
        record: the record.
        column: its column.
        folders: of the records, by hash.

    """
    sets, problems = list[_Set](), list[str]()
    for iteration in (0, None):
        path = folders[record.hash] / record.images_name_at(iteration)
        if not path.is_file():
            continue
        try:
            sets.append(_Set(record, column, iteration, draw_sheet(path)))
        except Exception as error:  # noqa: BLE001  (one damaged file of images does not keep the others from being drawn)
            problems.append(f"images not shown: {path}: {type(error).__name__}: {' '.join(str(error).split())}")
    return sets, problems


def _gallery(cell: tuple[str, int], sets: Sequence[_Set], results: Results, target: Path) -> Gallery:
    """Write the sheets of a gallery, and return it.

    Args:
        cell: dataset and IPC.
        sets: of this cell, of one size and the same classes.
        results: names methods and datasets.
        target: the folder of the pictures.

    """
    (dataset, ipc), first, sheets = cell, sets[0].drawn, []
    seed = Counter(member.record.spec.seed for member in sets).most_common(1)[0][0]
    for title, name, member in _titled(sets, seed, results):
        drawn = member.drawn
        (target / name).write_bytes(drawn.picture)
        column = member.column if member.iteration is None else None
        sheets.append(Sheet(title, f"{target.name}/{name}", drawn.rms, drawn.clipped, drawn.most, column))
    tile_height, tile_width = first.shape[1:]
    columns = min(max(member.drawn.most for member in sets), MOST)
    width, height = columns * (tile_width + 1) + 1, len(first.classes) * (tile_height + 1) + 1
    scale = max(1, min(_TILE // tile_height, _ACROSS // width))
    label = f"{results.names.dataset(dataset)}, IPC {ipc}, seed {seed}"
    return Gallery(dataset, ipc, label, first.classes, tuple(sheets), width, height, scale)


def _titled(sets: Sequence[_Set], seed: int, results: Results) -> Iterator[tuple[str, str, _Set]]:
    """Yield a title and the name of a file for each sheet: the starts first, each once, then the ends.

    Args:
        sets: of one gallery.
        seed: of most of them; another one is named.
        results: names methods.

    """
    starts: dict[bytes, list[_Set]] = defaultdict(list)
    for member in sets:
        if member.iteration is not None:
            starts[member.drawn.picture].append(member)
    for shared in starts.values():
        yield f"Start of {', '.join(_titles(shared, seed, results))}", _name(shared[0], "start"), shared[0]
    ends = [member for member in sets if member.iteration is None]
    for title, member in zip(_titles(ends, seed, results), ends, strict=True):
        yield title, _name(member), member


def _titles(sets: Iterable[_Set], seed: int, results: Results) -> list[str]:
    return [
        results.names.column(member.column) + (f", seed {member.record.spec.seed}" if member.record.spec.seed != seed else "")
        for member in sets
    ]


def _name(member: _Set, *more: str) -> str:
    spec = member.record.spec
    return file_name(spec.dataset, spec.ipc, *filter(None, member.column), *more)
