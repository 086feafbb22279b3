"""The files of prepared artefacts: `HASH.safetensors` with the tensors, and `HASH.json`, which says what they are.

They are in the folder `artefacts` beside that of the records. Each is written completely or not at all, the tensors first. The
process that makes an artefact holds its lock, and keeps what is finished of it in `HASH.resume`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.cells.artefact import ArtefactSpec
from bench.cells.task import ResumeKey
from bench.errors import DistillationError
from bench.files import atomic, file_digest, is_file
from bench.lazy import safetensors
from bench.records.locks import claimed
from bench.records.resume import ResumeFile

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "artefacts"


class ArtefactRecord(BaseModel):
    """What an artefact is: its description, the SHA-256 of its tensors' file, and how it was made.

    `made_by`: the hash of the cell that it was made for. `seconds`: of making it. `hardware`, `versions`, `code`: on what, with
    what and by which code. `finished`: when.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str
    spec: ArtefactSpec
    tensors: str
    made_by: str
    seconds: float
    hardware: dict[str, Any] = {}
    versions: dict[str, str] = {}
    code: dict[str, str] = {}
    finished: str = ""


@dataclass(frozen=True)
class ArtefactFiles:
    """The files of one artefact."""

    folder: Path
    spec: ArtefactSpec

    @classmethod
    def beside(cls, records: Path, spec: ArtefactSpec) -> ArtefactFiles:
        """Return the files in the folder beside that of the records."""
        return cls(records.parent / FOLDER, spec)

    @property
    def paths(self) -> tuple[Path, Path]:
        """The file of the tensors, then that of the record."""
        return self.folder / f"{self.spec.hash}.safetensors", self.folder / f"{self.spec.hash}.json"

    def read_record(self) -> ArtefactRecord | None:
        """Return the record of the artefact; None if it is not there, or its tensors are not those that were written."""
        tensors, path = self.paths
        try:
            if not (is_file(path) and is_file(tensors)):
                return None
            record = ArtefactRecord.model_validate_json(path.read_text(encoding="utf-8"))
            return record if record.spec == self.spec and record.tensors == file_digest(tensors) else None
        except (OSError, ValidationError, UnicodeDecodeError):
            return None  # it is made again

    def read(self) -> dict[str, Tensor]:
        """Return the tensors, on the CPU; raise `DistillationError` if they cannot be read."""
        try:
            tensors: dict[str, Tensor] = safetensors.torch.load(self.paths[0].read_bytes())
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise DistillationError(f"{self.paths[0]} cannot be read ({error}); remove it, and run this cell again") from error
        return tensors

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> ArtefactRecord:
        """Write the tensors and the record, which is returned.

        Args:
            tensors: the artefact.
            facts: the other fields of its record.

        """
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data, about = self.paths
        with atomic(data) as temporary:
            temporary.write_bytes(safetensors.torch.save(content, metadata={"hash": self.spec.hash}))
        record = ArtefactRecord(hash=self.spec.hash, spec=self.spec, tensors=file_digest(data), **facts)
        with atomic(about) as temporary:
            temporary.write_text(json.dumps(record.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        return record

    def contents(self) -> dict[str, bytes]:
        """Return the contents of the files by name, in the order in which they are written; nothing if there is no artefact."""
        return {path.name: path.read_bytes() for path in self.paths} if self.read_record() else {}

    def store(self, contents: Mapping[str, bytes]) -> None:
        """Write the files of this artefact among `contents`, unless it is there already or a process is making it."""
        if any(path.name not in contents for path in self.paths):
            return
        with claimed(self.folder, self.spec.hash) as ours:
            if ours and self.read_record() is None:
                for path in self.paths:
                    with atomic(path) as temporary:
                        temporary.write_bytes(contents[path.name])

    def resume_file(self, code: str) -> ResumeFile:
        """Return the file of what is finished; `code` is a hash of the suite's code."""
        return ResumeFile(ResumeKey(self.folder / f"{self.spec.hash}.resume", owner=self.spec.hash, code=code))
