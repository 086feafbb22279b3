"""Which images a dataset has, as a hash; and a cache of values that take long to compute."""

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
from bench.files import APPLICATION, atomic, is_file
from bench.types import Split

READERS = 1
"""Increase it when a reader starts to decode other pixels or labels from the same files: old cache entries then expire."""


class Fingerprint(BaseModel):
    """Which images and labels a dataset has, whatever the layout and the format of its files.

    Attributes:
        digest: SHA-256 of the images and labels of both splits, in their order. Random draws, and so results, depend on the
            order.
        content: the same, but independent of the order. The published layouts of CIFAR-10 differ only in their order.
        published: whether the set is the published set; None if there is nothing published to compare it with.
        assumed: whether the files are not there, and this is the fingerprint to expect. `digest` is empty if none is known.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    content: str
    published: bool | None = None
    assumed: bool = False

    @property
    def short(self) -> str:
        """The first 16 digits of the digest: descriptions of cells contain these."""
        return self.digest[:16]


def fingerprint_of(train: Split, test: Split, names: Sequence[str] = ()) -> Fingerprint:
    """Return the fingerprint of two splits.

    Args:
        train: the training images.
        test: the test images.
        names: of the classes, if these belong to the data, as in folders.

    """
    digest = hashlib.sha256(json.dumps(list(names)).encode())
    content = digest.copy()
    for name, split in (("train", train), ("test", test)):
        hashes = image_hashes(split)
        header = f"{name} {tuple(split.images.shape)}".encode()
        digest.update(header + b"".join(hashes))
        content.update(header + b"".join(sorted(hashes)))
    return Fingerprint(digest=digest.hexdigest(), content=content.hexdigest())


def image_hashes(split: Split) -> list[bytes]:
    """Return the SHA-256 of each image with its label."""
    images, labels = split.images.numpy(), split.labels.numpy().astype("<i8")
    return [hashlib.sha256(image.tobytes() + label.tobytes()).digest() for image, label in zip(images, labels, strict=True)]


class _Entry(BaseModel):
    """The content of a cache file: a value, and the hash of the files that it was computed from."""

    model_config = ConfigDict(extra="forbid")

    key: str
    value: dict[str, Any]


Value = TypeVar("Value", bound=BaseModel)


def cached(model: type[Value], name: str, *, home: Path, files: Sequence[Path], compute: Callable[[], Value]) -> Value:
    """Return `compute()`, or what it returned earlier for the same files.

    Files are the same if their paths, sizes and times of change are. The cache is in `home`, or in the user's cache folder if
    `home` does not exist or is read-only.

    Args:
        model: the type of the value.
        name: the name of the cache file.
        home: the folder of the data.
        files: what the value depends on.
        compute: computes the value.

    """
    key, paths = _key(files), _cache_paths(name, home)
    for path in paths:
        value = _stored(model, path, key)
        if value is not None:
            return value
    value = compute()
    if _key(files) == key:  # else a file changed while it was read, and the value may be of either content
        _store(value, paths, key)
    return value


def is_writable(folder: Path) -> bool:
    """Return whether files may be created in `folder`; its mode is respected even by root, who could ignore it."""
    try:
        return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)
    except OSError:
        return False


def _key(files: Sequence[Path]) -> str:
    """Return a hash of the state of files, and of the versions of the readers and of Pillow, which decode them."""
    states = []
    for file in files:
        state = file.stat()
        # ctime too: copying may preserve mtime.
        states.append([str(file.absolute()), state.st_size, state.st_mtime_ns, state.st_ctime_ns])
    return hashlib.sha256(json.dumps([READERS, metadata.version("pillow"), states]).encode()).hexdigest()


def _cache_paths(name: str, home: Path) -> list[Path]:
    """Return the possible paths of a cache file, the preferred one first."""
    owner = hashlib.sha256(str(home.absolute()).encode()).hexdigest()[:16]
    own = platformdirs.user_cache_path(APPLICATION) / f"{owner}-{name}.json"
    return [home / f".fingerprint-{name}.json", own]


def _stored(model: type[Value], path: Path, key: str) -> Value | None:
    """Return the value in a cache file, or None if it has none for this key or is damaged."""
    try:
        if not is_file(path):
            return None
        entry = _Entry.model_validate_json(path.read_bytes())
        return model.model_validate(entry.value) if entry.key == key else None
    except (OSError, ValueError, UsageError):
        return None


def _store(value: BaseModel, paths: Sequence[Path], key: str) -> None:
    """Write a value to the first path that can be written. If none can be, it is computed again next time."""
    beside, own = paths
    content = _Entry(key=key, value=value.model_dump(mode="json")).model_dump_json(indent=1) + "\n"
    for path in (beside, own) if is_writable(beside.parent) else (own,):
        try:
            if path == own:
                path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
        except OSError:
            continue
        return
