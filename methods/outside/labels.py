"""Which class of a dataset a label of a distilled set means: the names of classes say it wherever both sides have names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import listed


@dataclass(frozen=True)
class Matching:
    """What the labels of a set mean.

    Attributes:
        order: the class of each label; empty if that cannot be said.
        by_number: the labels that no name explains, which are taken by number.
        unmatched: the names of labels whose class cannot be said.

    """

    order: tuple[int, ...]
    by_number: tuple[int, ...] = ()
    unmatched: tuple[str, ...] = ()


def matching(own: Sequence[str], classes: Sequence[str], aliases: Mapping[str, str], *, numbered: bool) -> Matching:
    """Return what labels mean, by the closest way of comparing names in which most of them are those of a dataset.

    Case, punctuation and zeros in front of numbers do not count, and numbers before names, as in `00-airplane`, need not.

    Args:
        own: the names in the order of the set's labels; nothing if it has none.
        classes: the dataset's, as many.
        aliases: other names of the dataset's classes, and the class of each.
        numbered: whether the set's labels are numbers of classes, if names do not say more.

    """
    if not own:
        return Matching(tuple(range(len(classes))))
    matched = max((_matched(own, classes, keys) for keys in _ways(aliases)), key=len)  # the first of those with most
    rest = [label for label in range(len(own)) if label not in matched]
    free = [label for label in range(len(classes)) if label not in matched.values()]
    if rest and numbered and set(rest) == set(free):
        matched |= {label: label for label in rest}
    elif len(rest) == 1 and numbered and not own[rest[0]].isdecimal():
        matched |= {rest[0]: free[0]}
    elif rest:
        return Matching((), unmatched=tuple(own[label] for label in rest))
    return Matching(tuple(matched[label] for label in range(len(own))), by_number=tuple(rest))


def mapped(names: Sequence[str], labels: Sequence[int], order: Sequence[int], classes: Sequence[str]) -> str:
    """Return in a few words which classes some labels are, as in `gray is grey`."""
    return listed([f"{names[label]} is {classes[order[label]]}" for label in labels])


Key = Callable[[str], str]


def _ways(aliases: Mapping[str, str]) -> Iterator[tuple[Key, Key]]:
    """Yield how names of a set, and of a dataset, may be compared, the closest first; a key is empty if a name has none."""
    others = {_letters(name): _letters(meant) for name, meant in aliases.items()}

    def name(typed: str) -> str:
        return others.get(_letters(typed), _letters(typed))

    def after_number(typed: str) -> str:
        match = re.fullmatch(r"\d+(\D.*)", typed, re.ASCII | re.DOTALL)
        return name(match[1]) if match else ""

    def number(typed: str) -> str:
        match = re.match(r"\d+", typed, re.ASCII)
        return str(int(match[0])) if match else ""

    yield str, str
    yield name, name
    yield from ((after_number, name), (name, after_number), (after_number, after_number), (number, name), (name, number))


def _letters(name: str) -> str:
    """Return the letters and digits of a name in small letters, without accents."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", name).casefold() if sign.isalnum())


def _matched(own: Sequence[str], classes: Sequence[str], keys: tuple[Key, Key]) -> dict[int, int]:
    """Return the class of each label whose name is that of exactly one label and one class."""
    labels, targets = (_by_key(names, key) for names, key in zip((own, classes), keys, strict=True))
    return {label: targets[key] for key, label in labels.items() if key in targets}


def _by_key(names: Sequence[str], key: Key) -> dict[str, int]:
    counts = Counter(map(key, names))
    return {key(name): label for label, name in enumerate(names) if key(name) and counts[key(name)] == 1}
