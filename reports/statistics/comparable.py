"""Which columns of a dataset and IPC are compared: those that were made under one protocol and from the same images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from bench.cells.spec import RunSpec
from reports.frames.names import Column, by_cell
from reports.frames.results import Results
from reports.frames.variants import protocol_fields

Fields = Mapping[str, Any]

_SECTIONS = ("match", "eval", "data", "network")

_MAY_DIFFER = frozenset(
    {
        *("match.optimizer", "match.rate", "match.lr_images", "match.schedule", "match.momentum"),
        *("eval.nets", "eval.precision"),
    }
)
"""How a loss is minimised, which may be set for one loss alone, and how many networks evaluate at which precision. Losses that
differ in these are compared, and the answer says so."""

_IMAGES = "images of the data set"


def shared_protocol(spec: RunSpec) -> Fields:
    """Return what cells have to agree in before their accuracies are compared: protocol and images of the data set."""
    fields = protocol_fields(spec.protocol)
    shared = {name: fields[name] for name in fields if name.partition(".")[0] in _SECTIONS and name not in _MAY_DIFFER}
    return {**shared, _IMAGES: spec.data}


def differences(fields: Fields, others: Fields) -> str:
    """Return in words what keeps two cells from being compared; empty if nothing does.

    Only fields that both have count: random images have no matching loop. Images that a record does not name count as the same.

    Args:
        fields: of one cell; see `shared_protocol`.
        others: of the other.

    """
    names = [name for name in fields if name in others and fields[name] != others[name]]
    return ", ".join(
        f"{name}={fields[name]}, not {others[name]}" for name in names if name != _IMAGES or (fields[name] and others[name])
    )


@lru_cache(maxsize=8)
def protocols(results: Results) -> Mapping[tuple[str, int], Mapping[Column, Fields]]:
    """Return the protocol of each column of each dataset and IPC, but for the whole training set."""
    made: dict[tuple[str, int], dict[Column, Fields]] = {}
    for key, group in by_cell(results.main[results.main["method"] != "whole"]):
        spec = results.by_hash[group["hash"].iloc[0]].spec
        made.setdefault(key.row, {})[key.column] = shared_protocol(spec)
    return made


@lru_cache(maxsize=8)
def not_compared(results: Results) -> Mapping[tuple[str, int], Mapping[Column, str]]:
    """Return the columns of each dataset and IPC that are not compared with the others there, each with what it differs in.

    Compared are columns under the protocol that most losses have; among equals the one that most columns have, then one that
    tests on the test set, then the longest. Accuracy chooses nothing.
    """
    made = {}
    for row, fields in protocols(results).items():
        usual = _usual(fields)
        reasons = {column: differences(own, usual) for column, own in fields.items()}
        made[row] = {column: reason for column, reason in reasons.items() if reason}
    return made


def under_one_protocol(results: Results, row: tuple[str, int], columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return those of the columns of a dataset and IPC whose protocol is the one that most of them have.

    Args:
        results: the records.
        row: dataset and IPC.
        columns: of that row.

    """
    fields = {column: protocols(results)[row][column] for column in columns}
    usual = _usual(fields) if fields else {}
    return tuple(column for column, own in fields.items() if not differences(own, usual))


def _usual(fields: Mapping[Column, Fields]) -> Fields:
    """Return the protocol by which the columns of one dataset and IPC are compared."""
    losses = [own for own in fields.values() if "match.iterations" in own]
    candidates = losses or list(fields.values())
    candidates = [own for own in candidates if own[_IMAGES]] or candidates

    def rank(own: Fields) -> tuple[int, int, bool, int, int]:
        agreeing = [sum(not differences(other, own) for other in others) for others in (losses, fields.values())]
        length = (int(own.get(name) or 0) for name in ("match.iterations", "eval.epochs"))
        return agreeing[0], agreeing[1], own["data.split"] == "test", *length

    return max(candidates, key=rank)


def not_compared_sentence(results: Results) -> str:
    """Return the columns that are not compared in a sentence; empty if all are."""
    names = results.names
    columns = [
        f"{names.column(column)} on {names.dataset(dataset)}, IPC {ipc} ({reason})"
        for (dataset, ipc), reasons in not_compared(results).items()
        for column, reason in reasons.items()
    ]
    return f"Not compared with the others, because the protocol is another one: {'; '.join(columns)}." if columns else ""
