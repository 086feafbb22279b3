"""Resume states: what an interrupted cell goes on from, to the same bits as if it had not been interrupted.

A state is tensors and values between two iterations. All random numbers come from streams that the iteration's number names,
so no generator belongs to it. The file is in the folder of the records, is written completely or not at all, and runs no code
when it is read. It is used for the same description of the cell and the same code only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.cells.task import ResumeKey
from bench.errors import UnwritableError
from bench.files import atomic, is_file
from bench.lazy import safetensors, torch

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = 30.0
"""A state is written at most this often."""


@dataclass(frozen=True)
class ResumeState:
    """Tensors by name, and values that JSON can hold."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]

    def to(self, device: torch.device) -> ResumeState:
        """Return the state on a device."""
        return ResumeState({name: tensor.to(device) for name, tensor in self.tensors.items()}, self.values)


class ResumeFile:
    """The file of one cell's resume state."""

    def __init__(self, key: ResumeKey) -> None:
        """Take where the file is kept, and what the state must fit."""
        self.path, self._owner = key.path, {"hash": key.owner, "code": key.code}
        self._written = time.monotonic()

    def read(self, device: torch.device) -> ResumeState | None:
        """Return the state on `device`, or None if there is none that fits; raise `UsageError` for a pipe or a folder."""
        if not is_file(self.path):
            return None
        try:
            with safetensors.safe_open(self.path, framework="pt", device=str(device)) as file:
                about = json.loads((file.metadata() or {})["state"])
                if about["owner"] != self._owner:
                    return None
                return ResumeState({name: file.get_tensor(name) for name in file.keys()}, about["values"])  # noqa: SIM118
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
            return None  # a state is never needed: without one the cell begins at its start

    def due(self) -> bool:
        """Return whether the last state is old enough for another one."""
        return time.monotonic() - self._written > SECONDS

    def write(self, state: ResumeState) -> None:
        """Write a state in place of the last one."""
        # Copies: safetensors refuses tensors that share memory, as one that is a view of another does.
        form = torch.contiguous_format
        tensors = {name: tensor.detach().cpu().clone(memory_format=form) for name, tensor in state.tensors.items()}
        about = {"state": json.dumps({"owner": self._owner, "values": dict(state.values)})}
        content = safetensors.torch.save(tensors, metadata=about)
        with atomic(self.path) as temporary:
            temporary.write_bytes(content)
        self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self.path.is_file():  # what else has its name is not ours
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise UnwritableError.of(error, self.path) from error
