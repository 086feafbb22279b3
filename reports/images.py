"""The distilled images: for each dataset and IPC a gallery of sheets, every method beside the others."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.records import RunRecord
from reports.names import Column, dataset_rank, main_variants
from reports.results import Results
from reports.sheets import MOST, Pixels, file_name, png, read_pixels, sheet

_EMBEDDED = 48 * 1024
"""Bytes up to which a sheet stands in the page itself."""

_ALL_EMBEDDED = 1536 * 1024
"""Bytes of all sheets in the page; what comes after them is linked."""

_TILE = 56
"""Pixels of the screen that an image takes at most, before zooming."""

_ACROSS = 320
"""Pixels of the screen that a sheet takes at most, where its images are small enough."""


@dataclass(frozen=True)
class Sheet:
    """A picture of one set, or of one start that several methods share.

    `title`: of which method. `source`: the picture as a data URI, or its file. `file`: its file beside the page. `rms`: root
    mean square of the set in normalised units. `clipped`: the percentage of values outside [0, 1]. `most`: the images of its
    largest class. `column` is None where it is a start.
    """

    title: str
    source: str
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
    """A set that was read: whose it is, at which iteration (None: the end), what stands on the page, and its pixels."""

    record: RunRecord
    column: Column
    iteration: int | None
    pixels: Pixels
    picture: bytes


def write_images(results: Results, folders: Mapping[str, Path], target: Path, left_out: list[str]) -> list[Gallery]:
    """Draw the distilled images of one seed of each dataset, IPC and column; return what the page shows of them.

    Args:
        results: whose images.
        folders: where each record and its images lie, by hash.
        target: where the pictures go.
        left_out: a line is added for each file that cannot be drawn.

    """
    galleries, budget = [], _ALL_EMBEDDED
    for (dataset, ipc), records in _one_seed(results, folders).items():
        sets = [one for column, record in records.items() for one in _read(record, column, folders, left_out)]
        groups: dict[tuple[object, ...], list[_Set]] = defaultdict(list)
        for one in sets:
            groups[one.pixels.classes, one.pixels.images.shape[1:]].append(one)
        for members in groups.values():
            gallery, embedded = _gallery((dataset, ipc), members, results, target, budget)
            budget -= embedded
            galleries.append(gallery)
    return galleries


def _one_seed(results: Results, folders: Mapping[str, Path]) -> dict[tuple[str, int], dict[Column, RunRecord]]:
    """Return the records whose images are shown: of the seed that most columns have, or else the first of the column."""
    records = [record for record in results.records if record.hash in results.shown and record.spec.ipc is not None]
    texts = main_variants(records)
    seeds: dict[tuple[str, int], dict[Column, dict[int, RunRecord]]] = defaultdict(lambda: defaultdict(dict))
    for record in sorted(records, key=lambda record: record.hash):
        if (folders[record.hash] / record.images_name).is_file():
            column = Column(record.spec.method, texts[record.hash])
            seeds[record.spec.dataset, record.spec.ipc or 0][column].setdefault(record.spec.seed, record)
    shown = {}
    for place in sorted(seeds, key=lambda place: (dataset_rank(place[0]), place[1])):
        columns = seeds[place]
        counts = Counter(seed for own in columns.values() for seed in own)
        common = min(counts, key=lambda seed: (-counts[seed], seed))
        ordered = sorted(columns, key=results.names.column_rank)
        shown[place] = {column: columns[column].get(common) or min(columns[column].items())[1] for column in ordered}
    return shown


def _read(record: RunRecord, column: Column, folders: Mapping[str, Path], left_out: list[str]) -> Iterator[_Set]:
    """Yield a record's images at the start, where they were kept, and at the end.

    Args:
        record: whose images.
        column: its column.
        folders: where records lie.
        left_out: a line is added for each file that cannot be drawn.

    """
    for iteration in (0, None):
        path = folders[record.hash] / record.images_name_at(iteration)
        if not path.is_file():
            continue
        try:
            pixels = read_pixels(path)
            yield _Set(record, column, iteration, pixels, png(sheet(pixels)))
        except Exception as error:  # noqa: BLE001  (one damaged file of images does not keep the others from being drawn)
            left_out.append(f"images not shown: {path}: {type(error).__name__}: {' '.join(str(error).split())}")


def _gallery(place: tuple[str, int], sets: Sequence[_Set], results: Results, target: Path, budget: int) -> tuple[Gallery, int]:
    """Write the sheets of a gallery; return it, and how many bytes of it stand in the page.

    Args:
        place: dataset and IPC.
        sets: of this place, of one size and the same classes.
        results: what they are called.
        target: where the pictures go.
        budget: how many bytes may stand in the page.

    """
    (dataset, ipc), first, embedded, sheets = place, sets[0].pixels, 0, []
    seed = Counter(one.record.spec.seed for one in sets).most_common(1)[0][0]
    for title, name, one in _titled(sets, seed, results):
        (target / name).write_bytes(one.picture)
        source = f"{target.name}/{name}"
        if len(one.picture) <= min(_EMBEDDED, budget - embedded):
            embedded += len(one.picture)
            source = f"data:image/png;base64,{base64.b64encode(one.picture).decode()}"
        column = one.column if one.iteration is None else None
        pixels = one.pixels
        sheets.append(Sheet(title, source, f"{target.name}/{name}", pixels.rms, pixels.clipped, pixels.most, column))
    tile_height, tile_width = first.images.shape[2:]
    columns = min(max(one.pixels.most for one in sets), MOST)
    width, height = columns * (tile_width + 1) + 1, len(first.classes) * (tile_height + 1) + 1
    scale = max(1, min(_TILE // tile_height, _ACROSS // width))
    label = f"{results.names.dataset(dataset)}, IPC {ipc}, seed {seed}"
    return Gallery(dataset, ipc, label, first.classes, tuple(sheets), width, height, scale), embedded


def _titled(sets: Sequence[_Set], seed: int, results: Results) -> Iterator[tuple[str, str, _Set]]:
    """Yield a title and the name of a file for each sheet: the starts first, each once, then the ends.

    Args:
        sets: of one gallery.
        seed: of most of them; another one is named.
        results: what methods are called.

    """
    starts: dict[bytes, list[_Set]] = defaultdict(list)
    for one in sets:
        if one.iteration is not None:
            starts[one.picture].append(one)
    for shared in starts.values():
        yield f"Start of {', '.join(_titles(shared, seed, results))}", _name(shared[0], "start"), shared[0]
    ends = [one for one in sets if one.iteration is None]
    for title, one in zip(_titles(ends, seed, results), ends, strict=True):
        yield title, _name(one), one


def _titles(sets: Iterable[_Set], seed: int, results: Results) -> list[str]:
    return [
        results.names.column(one.column) + (f", seed {one.record.spec.seed}" if one.record.spec.seed != seed else "")
        for one in sets
    ]


def _name(one: _Set, *more: str) -> str:
    spec = one.record.spec
    return file_name(spec.dataset, spec.ipc, *filter(None, one.column), *more)
