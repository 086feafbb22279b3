"""The command that makes a cell again, from its description alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from bench.cells.protocol import PROFILES, SECTIONS, Match, Protocol
from bench.cells.settings import Settings
from bench.cells.spec import RunSpec
from bench.records.record import RunRecord
from reports.frames.names import run_precision


def command(record: RunRecord) -> str:
    """Return the command line of `run_all.py` that makes the cell of a record again, quoted for a POSIX shell.

    All settings of the method are written out, and those of the protocol that differ from its profile: defaults of a method may
    change, and then the command still means this cell.
    """
    spec, device = record.spec, str(record.hardware.get("device", ""))
    ranks = record.hardware.get("ranks", 1)  # processes that shared the cell; another number of them differs by rounding
    words = ["python"] if ranks == 1 else ["torchrun", "--standalone", "--nproc-per-node", str(ranks)]
    words += ["run_all.py", "--methods", needed_file(record) or spec.method, "--datasets", spec.dataset]
    words += [] if spec.ipc is None else ["--ipc", str(spec.ipc)]
    words += ["--seeds", str(spec.seed), "--profile", _profile(spec).profile, "--precision", run_precision(spec)]
    words += ["--device", device] if device else []
    if device == "cpu" and "threads" in record.hardware:  # on a CPU, the same bits need the same number of threads
        words += ["--threads", str(record.hardware["threads"])]
    if record.checkpoints:
        words += ["--checkpoints", ",".join(str(at.iteration) for at in record.checkpoints)]
    for name, value in settings_to_set(spec):
        words += ["--set", f"{name}={_typed(value)}"]
    return shlex.join(words)


def needed_file(record: RunRecord) -> str:
    """Return what `--methods` named where the method is not of the suite: `file.py:name`, or `set:PATH`; else an empty text."""
    text = record.method.citation
    path, colon, name = text.rpartition(":")
    is_loss = bool(colon) and name == record.spec.method and PurePath(path).suffix == ".py"
    return text if is_loss or text.startswith("set:") else ""


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
    """Return the profile of a cell; the paper's where a record names one that is no longer there."""
    return PROFILES.get(spec.protocol.profile, PROFILES["paper"]).at_ipc(spec.ipc or 1)


def _as_in_cell(usual: Settings, section: Settings, spec: RunSpec) -> dict[str, Any]:
    """Return the fields of a section of a profile as they are in a cell, where all that is left open has been decided.

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
