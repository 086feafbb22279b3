"""The field's five sets, in torchvision's on-disk layout or the Hugging Face Hub's parquet layout."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from datasets.source import Layout, Reader, Source, reading

if TYPE_CHECKING:
    from bench.types import Split

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")


def _split(images: Any, labels: Any) -> Split:
    """Return arrays of images, uint8 `[N, channels, H, W]`, and labels as a split."""
    import numpy as np
    import torch

    from bench.types import Split

    if len(images) != len(labels):
        raise UsageError(f"a split has {len(images)} images and {len(labels)} labels; they must agree")
    return Split(
        torch.from_numpy(np.array(images, dtype=np.uint8)),
        torch.from_numpy(np.array(labels, dtype=np.int64)),
    )


def idx(folder: str) -> Reader:
    """Return the reader of four IDX files, plain or gzipped, in `<root>/<folder>/raw`, as torchvision keeps them."""

    def read(root: Path) -> tuple[Split, Split] | None:
        raw = root / folder / "raw"
        splits = []
        for part in ("train", "t10k"):
            files = [_plain_or_gzip(raw / f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
            if None in files:
                return None
            images, labels = (_read_idx(file) for file in files if file is not None)
            splits.append(_split(images[:, None], labels))
        return splits[0], splits[1]

    return read


def _plain_or_gzip(file: Path) -> Path | None:
    return next((path for path in (file, file.with_name(file.name + ".gz")) if path.is_file()), None)


def _read_idx(file: Path) -> Any:
    """Return the array of an IDX file: two zero bytes, a type, the number of dimensions, then big-endian sizes and data."""
    import gzip

    import numpy as np

    with reading(file):
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        start = 4 + 4 * data[3]
        if data[:3] != b"\0\0\x08":
            raise ValueError("no IDX file of bytes")
        sizes = np.frombuffer(data[4:start], ">u4")
        return np.frombuffer(data[start:], np.uint8).reshape(tuple(sizes))


def cifar(folder: str, train_files: tuple[str, ...], test_file: str, label_key: str) -> Reader:
    """Return the reader of CIFAR's pickled batches in `<root>/<folder>`."""

    def read(root: Path) -> tuple[Split, Split] | None:
        import numpy as np

        place = root / folder
        if not all((place / name).is_file() for name in (*train_files, test_file)):
            return None
        splits = []
        for names in (train_files, (test_file,)):
            parts = []
            for name in names:
                with reading(place / name):
                    batch = pickle.loads((place / name).read_bytes(), encoding="latin1")
                    parts.append((batch["data"].reshape(-1, 3, 32, 32), batch[label_key]))
            splits.append(_split(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])))
        return splits[0], splits[1]

    return read


def svhn(folder: str) -> Reader:
    """Return the reader of SVHN's two MATLAB files in `<root>/<folder>`; digit 0 is labelled 10 in them."""

    def read(root: Path) -> tuple[Split, Split] | None:
        import numpy as np
        from scipy.io import loadmat

        files = [root / folder / f"{part}_32x32.mat" for part in ("train", "test")]
        if not all(file.is_file() for file in files):
            return None
        splits = []
        for file in files:
            with reading(file):
                content = loadmat(str(file))
                images = np.transpose(content["X"], (3, 2, 0, 1))  # from [32, 32, 3, N]
                splits.append(_split(images, content["y"].reshape(-1) % 10))
        return splits[0], splits[1]

    return read


def parquet(name: str, channels: int) -> Reader:
    """Return the reader of `train*.parquet` and `test*.parquet` in `<root>/<name>`: encoded images and their labels."""

    def read(root: Path) -> tuple[Split, Split] | None:
        files = {part: sorted((root / name).glob(f"{part}*.parquet")) for part in ("train", "test")}
        if not all(files.values()):
            return None
        train, test = (_read_parquet(files[part], "L" if channels == 1 else "RGB") for part in ("train", "test"))
        return train, test

    return read


def _read_parquet(files: list[Path], mode: str) -> Split:
    """Return the split in `files`; raise `UsageError` where the columns are others."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq
    from PIL import Image

    with reading(files[0]):
        columns = pq.read_schema(files[0]).names
    image_column = next((name for name in IMAGE_COLUMNS if name in columns), None)
    label_column = next((name for name in LABEL_COLUMNS if name in columns), None)
    if image_column is None or label_column is None:
        raise UsageError(
            f"{files[0]} has columns {', '.join(columns)}; valid: an image column {' or '.join(IMAGE_COLUMNS)} "
            f"and a label column {' or '.join(LABEL_COLUMNS)}"
        )
    shards = []
    for file in files:
        with reading(file):
            shards.append(pd.read_parquet(file, columns=[image_column, label_column]))
    table = pd.concat(shards)

    def decode(cell: dict[str, bytes]) -> Any:
        with Image.open(io.BytesIO(cell["bytes"])) as image:
            pixels = np.asarray(image.convert(mode))
        return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)

    with reading(files[0].parent), ThreadPoolExecutor() as pool:
        images = np.stack(list(pool.map(decode, table[image_column], chunksize=256)))
    return _split(images, table[label_column].to_numpy())


def _source(
    name: str, label: str, classes: tuple[str, ...], statistics: tuple[tuple[float, ...], tuple[float, ...]], *,
    size: int, flip: bool, layouts: tuple[Layout, ...], download: str,
) -> Source:  # fmt: skip
    mean, std = statistics
    hub = Layout(f"{name}/train*.parquet + test*.parquet", parquet(name, len(mean)))
    return Source(name, label, classes, mean, std, size, flip, (*layouts, hub), download)


_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR10_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
_SVHN_FOLDERS = (".", "svhn", "SVHN")

TORCHVISION_SETS = (
    _source("mnist", "MNIST", _DIGITS, ((0.1307,), (0.3081,)), size=28, flip=False,
            layouts=(Layout("MNIST/raw/*-ubyte", idx("MNIST")),), download="MNIST"),
    _source("fashionmnist", "FashionMNIST", _CLOTHES, ((0.2861,), (0.3530,)), size=28, flip=True,
            layouts=(Layout("FashionMNIST/raw/*-ubyte", idx("FashionMNIST")),), download="FashionMNIST"),
    _source("svhn", "SVHN", _DIGITS, ((0.4377, 0.4438, 0.4728), (0.198, 0.201, 0.197)), size=32, flip=False,
            layouts=tuple(Layout(f"{folder}/train_32x32.mat + test_32x32.mat", svhn(folder)) for folder in _SVHN_FOLDERS),
            download="SVHN"),
    _source("cifar10", "CIFAR-10", _CIFAR10, ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)), size=32, flip=True,
            layouts=(Layout("cifar-10-batches-py/data_batch_1..5 + test_batch",
                            cifar("cifar-10-batches-py", _CIFAR10_FILES, "test_batch", "labels")),), download="CIFAR10"),
    _source("cifar100", "CIFAR-100", tuple(f"class {label}" for label in range(100)),
            ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)), size=32, flip=True,
            layouts=(Layout("cifar-100-python/train + test",
                            cifar("cifar-100-python", ("train",), "test", "fine_labels")),), download="CIFAR100"),
)  # fmt: skip
