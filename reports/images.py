"""The distilled images, a picture for each dataset, IPC and column."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from safetensors import safe_open

from reports.figures.figure import STYLE
from reports.names import Column, main_variants
from reports.results import Results

matplotlib.use("Agg")  # no window, wherever the report is made

_GAP = 2
"""White pixels between images."""


def write_images(results: Results, folder: Path, target: Path) -> list[str]:
    """Draw the distilled images of the first seed of each dataset, IPC and column; return the names of the pictures.

    Args:
        results: whose images.
        folder: where the records and their images lie.
        target: where the pictures go.

    """
    records = [record for record in results.records if record.hash in results.shown]
    texts = main_variants(records)
    first: dict[tuple[str, int, Column], Path] = {}
    for record in sorted(records, key=lambda record: record.spec.seed):
        path = folder / record.images_name
        if record.spec.ipc is not None and path.is_file():
            first.setdefault((record.spec.dataset, record.spec.ipc, Column(record.spec.method, texts[record.hash])), path)
    written = []
    for (dataset, ipc, column), path in sorted(first.items()):
        pixels, classes = read_pixels(path)
        parts = (re.sub(r"[^A-Za-z0-9_.=-]+", "-", str(part)).strip("-") for part in (dataset, ipc, *filter(None, column)))
        written.append(f"synthetic_{'_'.join(parts)}.png")
        plot_images(pixels, classes, target / written[-1])
    return written


def read_pixels(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the images of a file, `[C, m, H, W]` or `[C, m, H, W, 3]` in [0, 1], and the class names."""
    with safe_open(path, framework="np") as file:
        images, labels = file.get_tensor("images"), file.get_tensor("labels")
        metadata = {key: json.loads(value) for key, value in file.metadata().items()}
    mean, std = (np.asarray(metadata[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    pixels = np.clip(images * std + mean, 0, 1).transpose(0, 2, 3, 1)  # [N, H, W, channels]
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    classes = metadata["classes"]
    ordered = pixels[np.argsort(labels, kind="stable")]
    return ordered.reshape(len(classes), -1, *ordered.shape[1:]), classes


def plot_images(images: np.ndarray, classes: Sequence[str], path: Path, *, most: int = 10) -> None:
    """Draw synthetic images, a class a row.

    Args:
        images: `[C, m, H, W]` or `[C, m, H, W, 3]` in [0, 1].
        classes: the names of the classes.
        path: where the picture goes.
        most: how many images of a class are drawn at most.

    """
    shown = images[:, :most]
    rows, columns, height, width = shown.shape[:4]
    sheet = np.ones((rows * (height + _GAP), columns * (width + _GAP), *shown.shape[4:]))
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + _GAP), column * (width + _GAP)
            sheet[top : top + height, left : left + width] = shown[row, column]
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(0.62 * columns + 1.4, 0.62 * rows))
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axes.set_frame_on(False)
        axes.set_xticks([])
        axes.set_yticks([row * (height + _GAP) + height / 2 for row in range(rows)], classes, fontsize=7)
        axes.tick_params(length=0)
        figure.subplots_adjust(left=1.2 / (0.62 * columns + 1.4), right=0.99, top=0.99, bottom=0.01)
        figure.savefig(path, dpi=100)
        plt.close(figure)
