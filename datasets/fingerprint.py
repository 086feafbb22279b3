"""Which images a dataset holds, as a hash; and the cache that keeps what takes long to compute."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from pydantic import BaseModel, ConfigDict

from bench.errors import UsageError
from bench.files import atomic
from bench.types import Split
from datasets.reading import is_file

READERS = 1
"""Raised by hand whenever a reader comes to decode other pixels or labels from the same files: old cache entries expire."""

_APPLICATION = "which-loss-at-what-cost"


class Fingerprint(BaseModel):
    """Which images and labels a dataset holds, whatever the layout and the format of its files.

    Attributes:
        digest: SHA-256 of the images and labels of both splits, in their order. Draws go by the order, so numbers do too.
        content: the same for images in any order. The published layouts of CIFAR-10 differ in the order alone.
        published: whether the set is the published one; None where nothing is published to compare it with.
        assumed: whether the files are not there, and this is what they are expected to be. Where nothing is expected,
            `digest` is empty.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    content: str
    published: bool | None = None
    assumed: bool = False

    @property
    def short(self) -> str:
        """The beginning of the digest, by which the descriptions of cells name it."""
        return self.digest[:16]


def fingerprint_of(train: Split, test: Split, names: Sequence[str] = ()) -> Fingerprint:
    """Return the fingerprint of two splits.

    Args:
        train: the training images.
        test: the test images.
        names: of the classes, where these are a part of the data, as in folders.

    """
    digest = hashlib.sha256(json.dumps(list(names)).encode())
    content = digest.copy()
    for part, split in (("train", train), ("test", test)):
        images, labels = split.images.numpy(), split.labels.numpy().astype("<i8")
        hashes = [
            hashlib.sha256(image.tobytes() + label.tobytes()).digest() for image, label in zip(images, labels, strict=True)
        ]
        header = f"{part} {images.shape}".encode()
        digest.update(header + b"".join(hashes))
        content.update(header + b"".join(sorted(hashes)))
    return Fingerprint(digest=digest.hexdigest(), content=content.hexdigest())


class _Entry(BaseModel):
    """What a cache file holds: a value, and the hash of the files that it was computed from."""

    model_config = ConfigDict(extra="forbid")

    key: str
    value: dict[str, Any]


Value = TypeVar("Value", bound=BaseModel)


def cached(model: type[Value], name: str, *, home: Path, files: Sequence[Path], compute: Callable[[], Value]) -> Value:
    """Return `compute()`, or what it returned earlier for the same files.

    Files are the same where their paths, sizes and times of change are. The cache lies in `home`, or in the user's cache
    folder where `home` is not there or read-only.

    Args:
        model: what is computed.
        name: the name of the cache file.
        home: the folder of the data.
        files: what the value depends on.
        compute: computes the value.

    """
    key, places = _key(files), _places(name, home)
    for place in places:
        value = _stored(model, place, key)
        if value is not None:
            return value
    value = compute()
    if _key(files) == key:  # else a file changed while it was read, and nobody can say what was read
        _store(value, places, key)
    return value


def is_writable(folder: Path) -> bool:
    """Return whether files may be made in `folder`. Root may do anything, but a folder may say no."""
    try:
        return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)
    except OSError:
        return False


def _key(files: Sequence[Path]) -> str:
    """Return a hash of the state of files. It also names the readers and Pillow, which decode them."""
    states = []
    for file in files:
        state = file.stat()
        # The time of the last change of any kind too: copying may keep the time of the last change of content.
        states.append([str(file.absolute()), state.st_size, state.st_mtime_ns, state.st_ctime_ns])
    return hashlib.sha256(json.dumps([READERS, metadata.version("pillow"), states]).encode()).hexdigest()


def _places(name: str, home: Path) -> list[Path]:
    """Return where a cache file may lie, the best place first."""
    owner = hashlib.sha256(str(home.absolute()).encode()).hexdigest()[:16]
    own = platformdirs.user_cache_path(_APPLICATION) / f"{owner}-{name}.json"
    return [home / f".fingerprint-{name}.json", own]


def _stored(model: type[Value], place: Path, key: str) -> Value | None:
    """Return the value in a cache file, or None where it holds none for this key. A cache is never trusted to be whole."""
    try:
        if not is_file(place):
            return None
        entry = _Entry.model_validate_json(place.read_bytes())
        return model.model_validate(entry.value) if entry.key == key else None
    except (OSError, ValueError, UsageError):
        return None


def _store(value: BaseModel, places: Sequence[Path], key: str) -> None:
    """Write a value into the first place that takes it. Where none does, it is computed again next time."""
    beside, own = places
    text = _Entry(key=key, value=value.model_dump(mode="json")).model_dump_json(indent=1) + "\n"
    for place in (beside, own) if is_writable(beside.parent) else (own,):
        try:
            if place == own:
                place.parent.mkdir(parents=True, exist_ok=True)
            with atomic(place) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError:
            continue
        return
