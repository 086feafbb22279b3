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
from bench.files import is_file, is_stray, reading
from bench.lazy import PIL
from bench.lazy import numpy as np
from bench.sets.described import Pair, assembled, in_order_of_labels
from bench.sets.distilled import DistilledSet
from bench.sets.encoded import SUFFIXES, decoded, stacked
from bench.sets.splits import training_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURES_ABOUT = "distilled_set.json"
"""The file beside the folders of seeds that says what the set is."""

_SEED = re.compile(r"seed-(\d+)")


def read_pictures(path: Path) -> DistilledSet:
    """Return the set in a folder of `seed-N/CLASS/*.png`, or, for one distillation, of `CLASS/*.png`.

    Class folders are named like the classes of the dataset, or numbered from 0, as in `00-airplane`. Hidden files and folders
    are passed over. Of a folder that has splits, the training split is read.

    Raises:
        UsageError: if there is no such picture, or class folders differ between seeds.

    """
    root, remarks = training_folder(path)
    folders = {int(match[1]): entry for entry in _folders(root) if (match := _SEED.fullmatch(entry.name))}
    names = [tuple(entry.name for entry in _folders(folder)) for _, folder in sorted((folders or {0: root}).items())]
    if any(other != names[0] for other in names):
        raise UsageError(f"class folders differ between seeds: {names[0]} and {names[-1]}; valid: the same in each")
    if not names[0]:
        raise UsageError("class folders none; valid: CLASS/*.png, named like the classes or numbered from 0, as in 00-airplane")
    classes, by_name = in_order_of_labels(names[0])
    pairs, about = list[Pair](), dict[str, Any]()
    for _, folder in sorted((folders or {0: root}).items()):
        pair, more = _images_and_labels([folder / name for name in classes])
        pairs.append(pair)
        remarks += more
    if is_file(path / PICTURES_ABOUT):
        with reading(path / PICTURES_ABOUT):
            about = json.loads((path / PICTURES_ABOUT).read_text(encoding="utf-8"))
    about = {name: about[name] for name in ("classes", "dataset", "lr") if name in about}  # pictures are not normalised
    remarks = tuple(dict.fromkeys(remarks))
    return assembled(pairs, about, seeds=sorted(folders or {0}), folders=classes, by_name=by_name, remarks=remarks)


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
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not is_stray(Path(entry.name)))


def _images_and_labels(folders: list[Path]) -> tuple[Pair, tuple[str, ...]]:
    """Return the pictures in class folders, each with the index of its folder, and what has to be said of them."""
    pictures, labels = [], []
    for label, folder in enumerate(folders):
        files = sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in SUFFIXES)
        files = [file for file in files if not is_stray(Path(file.name)) and is_file(file)]
        if not files:
            kind = "folders and no picture" if _folders(folder) else "no picture"
            raise UsageError(f"{folder} holds {kind}; valid: *.png in each class folder")
        for file in files:
            with reading(file), file.open("rb") as stream:
                pictures.append(decoded(stream))
            labels.append(label)
    images, remarks = stacked(pictures)
    return (images, np.asarray(labels)), remarks
