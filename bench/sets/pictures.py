"""Folders of PNG that torchvision's `ImageFolder` reads: `seed-0/00-airplane/0000.png`.

A picture has 8 bits a channel, so values of a distilled image are rounded to 255ths, and clipped to [0, 1].
Names of class folders begin with the number of the class, filled up with zeros: their alphabetical order, which `ImageFolder`
takes, is that of the labels.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.files import is_file, reading
from bench.lazy import PIL
from bench.lazy import numpy as np
from bench.sets.distilled import Distillation, DistilledSet, described, learning_rates
from bench.sets.parquet import decoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURES_ABOUT = "distilled_set.json"
"""The file beside the folders of seeds that says what the set is."""

_SEED = re.compile(r"seed-(\d+)")
_NUMBERED = re.compile(r"(\d+)([^\d].*)?")
_SUFFIXES = (".png",)


def read_pictures(path: Path) -> DistilledSet:
    """Return the set in a folder of `seed-N/CLASS/*.png`, or, for one distillation, of `CLASS/*.png`.

    Class folders are numbered from 0, as in `00-airplane`, or else named like the classes of the dataset.

    Raises:
        UsageError: if there is no such picture, or only some class folders are numbered.

    """
    folders = {int(match[1]): entry for entry in _folders(path) if (match := _SEED.fullmatch(entry.name))}
    folders = folders or {0: path}
    labels = {seed: _labels(_folders(folder)) for seed, folder in sorted(folders.items())}
    names = [[folder.name for folder in of_seed] for of_seed in labels.values()]
    if any(other != names[0] for other in names):
        raise UsageError(f"class folders differ between seeds: {names[0]} and {names[-1]}; valid: the same in each")
    about: dict[str, Any] = {}
    if is_file(path / PICTURES_ABOUT):
        with reading(path / PICTURES_ABOUT):
            about = json.loads((path / PICTURES_ABOUT).read_text(encoding="utf-8"))
    rates = learning_rates(about, len(labels))
    by_name = not all(_NUMBERED.fullmatch(name) for name in names[0])
    return DistilledSet(
        distillations=tuple(_distillation(*seed, lr) for seed, lr in zip(labels.items(), rates, strict=True)),
        by_name=by_name,
        **described(
            {name: about.get(name, "") for name in ("classes", "dataset")} | ({"classes": names[0]} if by_name else {})
        ),
    )


def write_pictures(folder: Path, content: DistilledSet) -> float:
    """Write a set into an empty folder; return the fraction of its values that were outside [0, 1], and were clipped."""
    width, outside = len(str(content.class_count - 1)), []
    for distillation in content.distillations:
        pixels, clipped = to_pixels(distillation.images, content.mean, content.std)
        outside.append(clipped)
        for label in range(content.class_count):
            name = re.sub(r"[^\w.-]+", "-", content.classes[label]).strip("-") if content.classes else ""
            target = folder / f"seed-{distillation.seed}" / "-".join(filter(None, (f"{label:0{width}}", name)))
            target.mkdir(parents=True)
            for number, picture in enumerate(pixels[distillation.hard_labels == label]):
                array = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
                PIL.Image.fromarray(np.ascontiguousarray(array)).save(target / f"{number:04}.png", optimize=False)
    fraction = float(np.mean(outside))
    about = {name: getattr(content, name) for name in ("dataset", "classes", "mean", "std")}
    about |= {"accuracies": dict(content.accuracies), "details": dict(content.details), "clipped": fraction}
    by_seed = sorted(content.distillations, key=lambda distillation: distillation.seed)  # as they are read
    about |= {"lr": [distillation.lr for distillation in by_seed]} if content.lrs else {}
    (folder / PICTURES_ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return fraction


def to_pixels(images: NDArray[Any], mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[NDArray[Any], float]:
    """Return images `[N, channels, H, W]` as pixels, uint8, and the fraction of the values that were outside [0, 1].

    Rounding moves a value by at most half a 255th. A value within that of the border counts as inside.
    """
    if images.dtype == np.uint8:
        return images, 0.0
    levels = np.round((images.astype(np.float64) * _channels(std) + _channels(mean)) * 255)
    return np.clip(levels, 0, 255).astype(np.uint8), float(((levels < 0) | (levels > 255)).mean())


def _channels(values: tuple[float, ...]) -> NDArray[Any]:
    return np.asarray(values, dtype=np.float64).reshape(1, -1, 1, 1)


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir())


def _labels(folders: list[Path]) -> dict[Path, int]:
    """Return the label of each class folder: its number, or if none is numbered, its index."""
    numbers = [match for folder in folders if (match := _NUMBERED.fullmatch(folder.name))]
    labels = [int(match[1]) for match in numbers] or list(range(len(folders)))
    if len(labels) != len(folders) or sorted(labels) != list(range(len(folders))) or not folders:
        names = ", ".join(folder.name for folder in folders) or "none"
        raise UsageError(f"class folders {names}; valid: all numbered from 0, as in 00-airplane, or all named like the classes")
    return dict(sorted(zip(folders, labels, strict=True), key=lambda pair: pair[1]))


def _distillation(seed: int, folders: dict[Path, int], lr: float | None) -> Distillation:
    images, labels = [], []
    for folder, label in folders.items():
        files = sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in _SUFFIXES and is_file(entry))
        if not files:
            raise UsageError(f"{folder} holds no picture; valid: *.png in each class folder")
        for file in files:
            with reading(file), file.open("rb") as stream:
                images.append(decoded(stream))
            labels.append(label)
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UsageError(f"pictures of shapes {shapes[0]} and {shapes[1]}; valid: one shape, [channels, height, width]")
    return Distillation.of(seed, np.stack(images), np.asarray(labels), lr)
