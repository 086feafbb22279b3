"""The files of prepared artefacts: `HASH.safetensors` with the tensors, and `HASH.json`, which says what they are.

They are in the folder `artefacts` beside that of the records. Each is written whole or not at all, the tensors first. While one
is made, its lock is held, and what is finished of it is kept in `HASH.resume`.
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
from bench.errors import DistillationError, UsageError
from bench.files import atomic, file_digest, is_file
from bench.lazy import safetensors
from bench.records.resume import ResumeFile

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "artefacts"


class ArtefactRecord(BaseModel):
    """What is known of an artefact: its description, the SHA-256 of its tensors' file, what making it took, on what and by
    what.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str
    spec: ArtefactSpec
    tensors: str
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
        """Return what is known of the artefact; None if it is not there, or its tensors are not those that were written."""
        tensors, path = self.paths
        try:
            if not (is_file(path) and is_file(tensors)):
                return None
            record = ArtefactRecord.model_validate_json(path.read_text(encoding="utf-8"))
            return record if record.spec == self.spec and record.tensors == file_digest(tensors) else None
        except (OSError, ValidationError, UsageError, UnicodeDecodeError):
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

    def resume_file(self, code: str) -> ResumeFile:
        """Return the file of what is finished; `code` is a hash of the suite's code."""
        return ResumeFile(ResumeKey(self.folder / f"{self.spec.hash}.resume", owner=self.spec.hash, code=code))
