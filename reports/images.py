"""The distilled images, a picture for each dataset, IPC and column."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from bench.records import RunRecord
from reports.names import column, variants
from reports.plots import plot_images


def write_images(records: Sequence[RunRecord], folder: Path, report: Path) -> list[str]:
    """Draw the distilled images of the first seed of each dataset, IPC and column; return the names of the pictures.

    Args:
        records: whose images.
        folder: where the records and their images lie.
        report: where the pictures go.

    """
    texts = variants(records)
    first: dict[tuple[str, int, str], Path] = {}
    for record in sorted(records, key=lambda record: record.spec.seed):
        path = folder / record.images_name
        if record.spec.ipc is not None and path.is_file():
            place = record.spec.dataset, record.spec.ipc, column(record.spec.method, texts[record.hash])
            first.setdefault(place, path)
    written = []
    for (dataset, ipc, method), path in sorted(first.items()):
        pixels, classes = _pixels(path)
        parts = (re.sub(r"[^A-Za-z0-9_.=-]+", "-", str(part)).strip("-") for part in (dataset, ipc, method))
        written.append(f"synthetic_{'_'.join(parts)}.png")
        plot_images(pixels, classes, report / written[-1])
    return written


def _pixels(path: Path) -> tuple[np.ndarray, list[str]]:
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
