"""Which of the files in a folder are one distilled set: those of its training split, and all shards of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError, listed
from bench.files import is_file, is_stray

_SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"}
_SPLITS |= {"dev": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test"}
"""What a split may be called, and what it is."""

_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d+)-of-(?P<count>\d+)(-[0-9a-f]+)?")


def split_of(path: Path) -> str:
    """Return the split that the name of a file says, or else that of a folder it is in; an empty string if none does.

    Args:
        path: relative to the folder that a user named.

    """
    for name in (path.stem, *reversed(path.parts[:-1])):
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return ""


def training_folder(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of the training split if a folder holds splits and nothing else, or the folder; and what is left out.

    Raises:
        UsageError: if it holds several splits, and none for training.

    """
    splits = {entry: _SPLITS.get(entry.name.lower()) for entry in sorted(path.iterdir()) if _is_folder(entry)}
    if not splits or None in splits.values() or not any(map(_is_folder, (file for each in splits for file in each.iterdir()))):
        return path, ()
    return _training(splits, path)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not is_stray(Path(path.name))


def _training(splits: dict[Path, str | None], path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the one folder of the training split; raise `UsageError` if there is none, or more than one."""
    training = [entry for entry, split in splits.items() if split == "train"]
    others = [entry.name for entry in splits if entry not in training]
    if len(training) != 1:
        names = listed([entry.name for entry in splits])
        raise UsageError(f"{path} holds {names}, which are splits; valid: the path of the one that holds distilled images")
    return training[0], _left_out(others)


def _left_out(others: Sequence[str]) -> tuple[str, ...]:
    return (f"its training images are read; {listed(others)} beside them are left out",) if others else ()


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder and below it, where the Hub has them too."""
    files = sorted(path for path in folder.rglob("*.parquet") if not is_stray(path.relative_to(folder)))
    return [path for path in files if is_file(path)]


def parquet_of_set(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return the Parquet files of the one set in a folder, in order, and what is left out.

    Raises:
        UsageError: if the files are of several sets, or a shard is missing.

    """
    files = {path: split_of(path.relative_to(folder)) for path in parquet_files(folder)}
    chosen, remarks = list(files), tuple[str, ...]()
    if len(set(files.values())) > 1:
        chosen = [path for path, split in files.items() if split == "train"]
        remarks = _left_out([str(path.relative_to(folder)) for path in files if path not in chosen])
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in chosen:
        shard = _SHARD.fullmatch(path.stem)
        name = f"{shard['name']} of {shard['count']}" if shard else re.sub(r"\d+", "", path.stem)
        groups[path.parent, name].append(path)
    if len(groups) != 1:
        names = listed([str(path.relative_to(folder)) for path in files])
        raise UsageError(f"{folder} holds several sets: {names}; valid: the path of one, or of a folder with one set of shards")
    _check_shards(chosen)
    return chosen, remarks


def _check_shards(files: Sequence[Path]) -> None:
    """Raise `UsageError` if one of the shards that the names of files count is missing, or there twice."""
    shards = [match for file in files if (match := _SHARD.fullmatch(file.stem))]
    if shards and sorted(int(match["number"]) for match in shards) != list(range(int(shards[0]["count"]))):
        count = int(shards[0]["count"])
        raise UsageError(f"{files[0].parent} has {len(shards)} of {count} shards of {shards[0]['name']}; valid: each once")
