"""The file that `tox -e bench` writes, as typed measurements.

Every entry of the file says in its `extra_info` which side of a comparison it is (`kind`: `fast`, `reference`, or `rate` for
the machine's matrix product), and if it applies `flops` of one round, `float32_flops` (those of them that are in float32
whatever the precision), `units` (steps in a round), `precision`, and for the scaling of a loss `loss`, `method` (label, order
and colour of the loss in tables and figures), `sizes`, `base` and `peak_mib`.
Seconds are medians over rounds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.records.sections import MethodFacts

_VALID = "valid: the path of a file that `tox -e bench` wrote"


@dataclass(frozen=True)
class Measurement:
    """One benchmark: median `seconds` of one unit of work, over `rounds`, and `flops` of that unit, if the file has them.

    `float32_flops` of these are in float32 whatever the `precision`.
    """

    group: str
    name: str
    kind: str
    seconds: float
    rounds: int
    flops: float | None = None
    float32_flops: float = 0
    precision: str = "fp32"
    loss: str = ""
    method: MethodFacts | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    base: Mapping[str, int] = field(default_factory=dict)
    peak_mib: float | None = None
    limit_mib: float | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Measurement:
        """Return the measurement of an entry of the file; raise `KeyError`, `TypeError` or `ValueError` if it is none."""
        about = entry["extra_info"]
        units, seconds = float(about.get("units", 1)), float(entry["stats"]["median"])
        if not (seconds > 0 and units > 0):
            raise ValueError(f"{entry['name']}: its median is {seconds} seconds over {units} units")
        return cls(
            group=str(entry["group"]),
            name=str(entry["name"]),
            kind=str(about["kind"]),
            seconds=seconds / units,
            rounds=int(entry["stats"]["rounds"]),
            flops=None if about.get("flops") is None else float(about["flops"]) / units,
            float32_flops=float(about.get("float32_flops", 0)) / units,
            precision=about.get("precision", "fp32"),
            method=MethodFacts.model_validate(about["method"]) if "method" in about else None,
            **{key: about[key] for key in ("loss", "sizes", "base", "peak_mib", "limit_mib") if key in about},
        )

    @property
    def facts(self) -> MethodFacts:
        """Label, order and colour of the loss; files of earlier versions have its name alone."""
        return self.method or MethodFacts(label=self.loss)

    @property
    def rate(self) -> float | None:
        """Floating-point operations a second."""
        return None if self.flops is None else self.flops / self.seconds


@dataclass(frozen=True)
class Run:
    """All measurements of one run on one machine; `description`: a line with the machine, the time and the commit."""

    measurements: tuple[Measurement, ...]
    description: str

    def of(self, group: str, kind: str) -> list[Measurement]:
        """Return the measurements of one side of a comparison."""
        return [entry for entry in self.measurements if (entry.group, entry.kind) == (group, kind)]

    def gemm(self, precision: str) -> float | None:
        """Return the measured rate of the matrix product in that precision."""
        return next((entry.rate for entry in self.of("gemm", "rate") if entry.precision == precision), None)


def read_benchmarks(path: Path) -> Run:
    """Return the run in a file of pytest-benchmark, without entries of other suites; raise `UsageError` if it has none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = content["benchmarks"]
        measurements = tuple(Measurement.of(entry) for entry in entries if "kind" in entry.get("extra_info", {}))
    except OSError as error:
        raise UsageError(f"--benchmarks {str(path)!r} cannot be read ({error.strerror}); {_VALID}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"--benchmarks {str(path)!r} is no file of benchmarks ({reason}); {_VALID}") from None
    if not measurements:
        raise UsageError(f"--benchmarks {str(path)!r} holds no benchmark of this suite; {_VALID}")
    return Run(measurements, _description(content))


def _description(content: Mapping[str, Any]) -> str:
    machine, commit = content.get("machine_info") or {}, content.get("commit_info") or {}
    code = str(commit.get("id", "unknown"))[:12] + (" with changes" if commit.get("dirty") else "")
    return (
        f"{machine.get('cpu', 'unknown processor')}, {machine.get('threads', machine.get('cores', '?'))} threads; "
        f"torch {machine.get('torch', 'unknown')}; `--precision auto` is {machine.get('precision', 'fp32')}; "
        f"{str(content.get('datetime', 'no date'))[:19]}; commit {code}."
    )
