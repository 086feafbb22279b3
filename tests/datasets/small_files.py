"""Small datasets in the real file formats, and the check that what was read is what was written."""

import gzip
import io
import pickle
import struct
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.io import savemat

from datasets import DATASETS

IDX_FOLDERS = {"mnist": "MNIST", "fashionmnist": "FashionMNIST"}
CLASSES = {"mnist": 10, "fashionmnist": 10, "svhn": 10, "cifar10": 10, "cifar100": 100}
SHAPES = {"mnist": (28, 28), "fashionmnist": (28, 28), "svhn": (32, 32, 3), "cifar10": (32, 32, 3), "cifar100": (32, 32, 3)}


def noise(name, count, seed):
    """Return `count` noise images as people keep them, `[N, H, W]` or `[N, H, W, 3]`, and labels that hold every class."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *SHAPES[name]), dtype=np.uint8)
    labels = generator.permutation(np.arange(count) % CLASSES[name])
    return images, labels


def both(name, train=23, test=11):
    # Unequal, odd numbers, so that swapped splits and transposed axes show.
    return noise(name, train, 1), noise(name, test, 2)


def check(split, images, labels):
    """Assert that the loader returned these very pixels and labels, as uint8 `[N, channels, H, W]` and int64."""
    expected = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    assert split.images.dtype == torch.uint8
    assert split.labels.dtype == torch.int64
    assert split.images.shape == expected.shape
    assert np.array_equal(split.images.numpy(), expected)
    assert split.labels.tolist() == labels.tolist()
    assert len(split) == len(labels)


def check_bundle(bundle, name, splits):
    check(bundle.train, *splits[0])
    check(bundle.test, *splits[1])
    assert bundle.name == name
    assert len(bundle.classes) == len(set(bundle.classes)) == CLASSES[name]
    channels = 1 if len(SHAPES[name]) == 2 else 3
    assert len(bundle.mean) == len(bundle.std) == channels
    assert bundle.shape == (channels, *SHAPES[name][:2]) == DATASETS[name].shape


def tree(root):
    return sorted((str(path), path.stat().st_size) for path in root.rglob("*"))


def idx_bytes(array):
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(raw, splits, *, gz=False):
    raw.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in zip(("train", "t10k"), splits, strict=True):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            data = idx_bytes(array)
            path = raw / f"{part}-{kind}-ubyte{'.gz' if gz else ''}"
            path.write_bytes(gzip.compress(data) if gz else data)


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote, as in the files of Krizhevsky's page: keys and pixels are byte strings of no encoding."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        raw = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch[str] = save_text
    dispatch[bytes] = save_text


def write_pickle(path, content):
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(content)
    # numpy's module of those days; today's name would not be in a real file
    path.write_bytes(stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


def batch(images, labels, **more):
    return {"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1), **labels, **more}


def write_cifar10(root, splits):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (images, labels), (test_images, test_labels) = splits
    parts = zip(np.array_split(images, 5), np.array_split(labels, 5), strict=True)
    for number, (part, part_labels) in enumerate(parts, start=1):
        about = f"training batch {number} of 5"
        write_pickle(folder / f"data_batch_{number}", batch(part, {"labels": part_labels.tolist()}, batch_label=about))
    write_pickle(
        folder / "test_batch", batch(test_images, {"labels": test_labels.tolist()}, batch_label="testing batch 1 of 1")
    )
    write_pickle(folder / "batches.meta", {"label_names": list(DATASETS["cifar10"].classes), "num_vis": 3072})


def write_cifar100(root, splits):
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for part, (images, labels) in zip(("train", "test"), splits, strict=True):
        # The coarse labels differ from the fine ones, so that reading the wrong ones shows.
        both_labels = {"coarse_labels": ((labels + 7) % 20).tolist(), "fine_labels": labels.tolist()}
        write_pickle(folder / part, batch(images, both_labels, batch_label=part))
    names = {"fine_label_names": list(DATASETS["cifar100"].classes), "coarse_label_names": [str(n) for n in range(20)]}
    write_pickle(folder / "meta", names)


def write_svhn(folder, splits):
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in zip(("train", "test"), splits, strict=True):
        digits = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(folder / f"{part}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": digits})


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path, images, labels, *, image="img", label="label", **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": png(pixels), "path": f"{number}.png"} for number, pixels in enumerate(images)]
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {image: pa.array(cells, struct_type), label: pa.array(labels.tolist(), pa.int64())}
    pq.write_table(pa.table(columns | {name: pa.array(values.tolist()) for name, values in more.items()}), path)


def write_hub(folder, splits, **columns):
    for part, (images, labels) in zip(("train", "test"), splits, strict=True):
        write_parquet(folder / f"{part}-00000-of-00001.parquet", images, labels, **columns)
