"""The command that makes a cell again, from its description alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from bench.cells.protocol import PROFILES, SECTIONS, Match, Protocol
from bench.cells.settings import Settings
from bench.cells.spec import RunSpec
from bench.records.record import RunRecord
from reports.frames.variants import run_precision


def command(record: RunRecord) -> str:
    """Return the command line of `run_all.py` that makes the cell of a record again, quoted for a POSIX shell.

    It names all settings of the method, and those of the protocol that differ from its profile: if the defaults of a method
    change, the command still means this cell.
    """
    spec, device = record.spec, str(record.hardware.get("device", ""))
    ranks = record.hardware.get("ranks", 1)  # processes that shared the cell; another number of them differs by rounding
    arguments = ["python"] if ranks == 1 else ["torchrun", "--standalone", "--nproc-per-node", str(ranks)]
    arguments += ["run_all.py", "--methods", spelling(record), "--datasets", record.details.get("dataset", spec.dataset)]
    arguments += [] if spec.ipc is None else ["--ipc", str(spec.ipc)]
    arguments += ["--seeds", str(spec.seed), "--profile", _profile(spec).profile, "--precision", run_precision(spec)]
    arguments += ["--device", device] if device else []
    if device == "cpu" and "threads" in record.hardware:  # on a CPU, the same bits need the same number of threads
        arguments += ["--threads", str(record.hardware["threads"])]
    if record.checkpoints:
        arguments += ["--checkpoints", ",".join(str(at.iteration) for at in record.checkpoints)]
    for name, value in settings_to_set(spec):
        arguments += ["--set", f"{name}={_typed(value)}"]
    return shlex.join(arguments)


def spelling(record: RunRecord) -> str:
    """Return how `--methods` names the method of a record: `kr`, or for a user's own file `file.py:name` or `set:PATH`.

    Records that were written before the field `spelling` existed have that of a user's file as the citation.
    """
    method = record.method
    return method.spelling or (record.spec.code and method.citation) or record.spec.method


def settings_to_set(spec: RunSpec) -> Iterator[tuple[str, Any]]:
    """Yield the settings that the command has to name, as dotted names with values: the method's, then the protocol's."""
    for name, value in spec.settings.model_dump().items():
        yield f"{spec.method}.{name}", value
    profile = _profile(spec)
    for owner in SECTIONS:
        section = getattr(spec.protocol, owner)
        if section is not None:
            usual = _as_in_cell(getattr(profile, owner), section, spec)
            yield from ((f"{owner}.{name}", value) for name, value in section if value != usual[name])


def _profile(spec: RunSpec) -> Protocol:
    """Return the profile of a cell; the paper's if a record names one that no longer exists."""
    return PROFILES.get(spec.protocol.profile, PROFILES["paper"]).at_ipc(spec.ipc or 1)


def _as_in_cell(usual: Settings, section: Settings, spec: RunSpec) -> dict[str, Any]:
    """Return the fields of a section of a profile as they are in a cell, in which all open values have been decided.

    Args:
        usual: the section of the profile.
        section: that of the cell, whose optimizer decides which size of a step there is.
        spec: the cell.

    """
    if isinstance(usual, Match) and isinstance(section, Match):
        match = usual.changed(optimizer=section.optimizer).with_step()
        return {**dict(match), "optimizer": usual.optimizer}
    return dict(usual.at_precision(run_precision(spec)))


def _typed(value: Any) -> str:
    """Return a value as it is typed after `--set`."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
