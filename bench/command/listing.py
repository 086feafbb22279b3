"""What `run_all.py --list` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from bench.cells.method import Method
from bench.cells.protocol import PROFILES, SECTIONS
from bench.cells.settings import valid_values
from bench.networks.names import NETWORKS
from bench.running.executors import EXECUTORS
from bench.running.suite import Suite
from bench.types import Shaped


class Named(Shaped, Protocol):
    """What is printed of a dataset."""

    @property
    def label(self) -> str: ...  # noqa: D102


def listing(suite: Suite, name: str = "") -> str:
    """Return methods, datasets, networks, profiles and all options as text."""
    methods, sources = suite.methods.values(), suite.datasets.values()
    lines = ["Methods:", *(line for method in methods for line in _method_lines(method))]
    lines += ["  path/to/file.py:function  a loss of your own", "Datasets:"]
    for source in sources:
        channels, height, width = source.shape
        lines.append(f"  {source.name:<12} {source.label}: {len(source.classes)} classes, {channels}x{height}x{width}")
    lines += ["  folder:PATH  PATH/train/CLASS/* and PATH/test/CLASS/*", "Networks:"]
    lines += [f"  {', '.join(NETWORKS)}, and variants of them such as convnet-d4 and convnet-w64-bn"]
    lines += [f"Profiles: {', '.join(PROFILES)}", *_section_lines(), f"Executors: {', '.join(EXECUTORS)}", *_executor_lines()]
    return "\n".join(lines)


def _method_lines(method: Method) -> Iterator[str]:
    yield f"  {method.name:<12} {method.label} ({method.citation})"
    for name, field in method.settings.model_fields.items():
        by_profile = any(name in values for values in method.presets.values())
        default = "by profile" if by_profile else field.default
        yield f"    --set {method.name}.{name}={default}  ({valid_values(field)})"


def _executor_lines() -> Iterator[str]:
    for owner, kind in EXECUTORS.items():
        for name, field in kind.settings.model_fields.items():
            yield f"    --set {owner}.{name}={_text(field.default)}  ({valid_values(field)})"


def _section_lines() -> Iterator[str]:
    for section, settings in SECTIONS.items():
        for name, field in settings.model_fields.items():
            values = ", ".join(f"{key} {_text(getattr(getattr(p, section), name))}" for key, p in PROFILES.items())
            yield f"    --set {section}.{name}=...  ({valid_values(field)}; {values})"


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else "none" if value is None else str(value)
