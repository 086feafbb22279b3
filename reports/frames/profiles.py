"""What cells have set otherwise than their profile says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from bench.cells.protocol import PROFILES
from bench.cells.spec import RunSpec
from reports.frames.variants import protocol_fields, run_precision


def profile_label(spec: RunSpec) -> str:
    """Return the profile's name, and what was set otherwise than it says; the depth follows from the images' size."""
    changed = _changed(spec)
    name = spec.protocol.profile
    return f"{name} with {' '.join(f'{field}={value}' for field, value in changed.items())}" if changed else name


def profiles_label(specs: Iterable[RunSpec]) -> str:
    """Return the same for many cells: each profile once, with the values of its cells that differ from it, and in which cells.

    Cells without the section of a field, as random images have no matching loop, do not count.
    """
    profiles: dict[str, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        profiles[spec.protocol.profile].append(spec)
    labels = []
    for name, members in sorted(profiles.items()):
        changed = [_changed(spec) for spec in members]
        fields = dict.fromkeys(field for values in changed for field in values)
        by_cells: dict[str, list[str]] = defaultdict(list)
        for field in fields:
            value, cells = _field_label(field, members, changed)
            by_cells[cells].append(value)
        groups = ", ".join(f"{' '.join(values)}{cells}" for cells, values in by_cells.items())
        labels.append(f"{name} with {groups}" if groups else name)
    return " and profile ".join(labels)


def _field_label(field: str, specs: Sequence[RunSpec], changed: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the values of a field that differ from the profile, and in which cells, if others have the profile's own.

    Args:
        field: as a dotted name.
        specs: the cells of one profile.
        changed: the fields of each that are not as the profile says.

    """
    having = [index for index, spec in enumerate(specs) if field in protocol_fields(spec.protocol)]
    other = {index for index in having if field in changed[index]}
    values = sorted({_value(changed[index][field]) for index in other})
    ipcs = {specs[index].ipc for index in other}
    cells = ""
    if other != set(having):
        whole = all(index in other for index in having if specs[index].ipc in ipcs)
        cells = f" at IPC {' and '.join(map(str, sorted(ipc or 1 for ipc in ipcs)))}" if whole else " in part of the cells"
    return f"{field}={'|'.join(values)}", cells


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _changed(spec: RunSpec) -> dict[str, Any]:
    """Return the fields of a cell's protocol that are not as its profile says, but for the step size of another optimizer."""
    name = spec.protocol.profile
    if name not in PROFILES:
        return {}
    usual = _usual(name, spec.ipc or 1)
    fields = protocol_fields(spec.protocol, precision=run_precision(spec))
    sizes = {field for field in ("match.rate", "match.lr_images") if fields.get(field) is None}
    return {field: value for field, value in fields.items() if field not in {"network.depth", *sizes} and usual[field] != value}


@cache
def _usual(profile: str, ipc: int) -> Mapping[str, Any]:
    """Return the fields of a profile, with iterations and the size of a step, as the descriptions of cells have them."""
    protocol = PROFILES[profile].at_ipc(ipc)
    return protocol_fields(protocol.changed(match=protocol.match.with_step() if protocol.match else None))
