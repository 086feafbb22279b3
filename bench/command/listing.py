"""What `run_all.py --list` prints: all names and options, or one name in full."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Protocol

from pydantic.fields import FieldInfo

from bench.cells.method import Method
from bench.cells.protocol import PROFILES, SECTIONS
from bench.cells.settings import Settings, as_typed, valid_values
from bench.errors import unknown
from bench.networks.names import NETWORKS, network_label, parse_network
from bench.running.executors import EXECUTORS
from bench.running.suite import Suite
from bench.types import Shaped


class Named(Shaped, Protocol):
    """What is printed of a dataset."""

    @property
    def label(self) -> str: ...  # noqa: D102


def listing(suite: Suite, name: str = "") -> str:
    """Return what `--list` prints.

    Args:
        suite: has the registries.
        name: of a method, section of the protocol, executor, dataset or network, to be printed in full; empty for a line on
            each of them and on each option.

    Raises:
        UsageError: if nothing has that name.

    """
    if not name:
        return "\n".join(_overview(suite))
    lines = list(_details(suite, name))
    if not lines:
        raise unknown("name after --list", name, {*suite.methods, *SECTIONS, *EXECUTORS, *suite.datasets, *NETWORKS})
    return "\n".join(lines)


def _overview(suite: Suite) -> Iterator[str]:
    yield "Methods:"
    for method in suite.methods.values():
        yield f"  {method.name:<12} {method.label} ({method.citation})"
        yield from _option_lines(method.name, _of_method(method))
    yield from ("  path/to/file.py:function  a loss of your own", "Datasets:")
    for source in suite.datasets.values():
        yield f"  {source.name:<12} {_described(source)}"
    yield from ("  folder:PATH  PATH/train/CLASS/* and PATH/test/CLASS/*", "Networks:")
    yield f"  {', '.join(NETWORKS)}, and variants of them such as convnet-d4 and convnet-w64-bn"
    yield f"Profiles: {', '.join(PROFILES)}"
    for name in SECTIONS:
        yield from _option_lines(name, _of_section(name))
    yield f"Executors: {', '.join(EXECUTORS)}"
    for name in EXECUTORS:
        yield from _option_lines(name, _of_executor(name))
    yield "--list NAME shows one of these names in full."


def _details(suite: Suite, name: str) -> Iterator[str]:
    """Yield the lines on everything of a name: `whole` is a method and a section of the protocol."""
    if name in suite.methods:
        method = suite.methods[name]
        sections = ", ".join((*method.sections, "data", "network"))
        yield from (f"Method {name}: {method.label} ({method.citation})", f"  sections of the protocol: {sections}")
        yield from _settings_lines(name, _of_method(method))
    if name in SECTIONS:
        yield f"Section {name} of the protocol"
        yield from _settings_lines(name, _of_section(name))
    if name in EXECUTORS:
        yield f"Executor {name}"
        yield from _settings_lines(name, _of_executor(name))
    if name in suite.datasets:
        source = suite.datasets[name]
        yield from (f"Dataset {name}: {_described(source)}", f"  classes: {', '.join(source.classes)}")
    if name.partition("-")[0] in NETWORKS:
        yield f"Network {name}: {network_label(name)}"
        for argument, choices in parse_network(name)[0].variants.items():
            yield f"  {argument}, after a hyphen: {choices.replace('|', ', ')}"


def _described(source: Named) -> str:
    channels, height, width = source.shape
    return f"{source.label}: {len(source.classes)} classes, {channels}x{height}x{width}"


# ---- settings by profile ----


def _of_method(method: Method) -> dict[str, Settings]:
    return {profile: method.resolve({}, profile=profile) for profile in PROFILES}


def _of_section(name: str) -> dict[str, Settings]:
    return {profile: getattr(protocol, name) for profile, protocol in PROFILES.items()}


def _of_executor(name: str) -> dict[str, Settings]:
    return {profile: EXECUTORS[name].settings() for profile in PROFILES}


def _fields(by_profile: Mapping[str, Settings]) -> Iterator[tuple[str, FieldInfo, str, str]]:
    """Yield each field, its value if all profiles share it, or else its value in each profile, such as `quick 5, cpu 2`."""
    for name, field in type(next(iter(by_profile.values()))).model_fields.items():
        values = {profile: as_typed(getattr(settings, name)) for profile, settings in by_profile.items()}
        if len(set(values.values())) == 1:
            yield name, field, next(iter(values.values())), ""
        else:
            yield name, field, "", ", ".join(f"{profile} {value}" for profile, value in values.items())


def _option_lines(owner: str, by_profile: Mapping[str, Settings]) -> Iterator[str]:
    for name, field, shared, differing in _fields(by_profile):
        yield f"    --set {owner}.{name}={shared or '...'}  ({'; '.join(filter(None, (valid_values(field), differing)))})"


def _settings_lines(owner: str, by_profile: Mapping[str, Settings]) -> Iterator[str]:
    """Yield what the settings are as a whole, and for each its description, default and valid values."""
    first_paragraph = (inspect.getdoc(type(next(iter(by_profile.values())))) or "").partition("\n\n")[0]
    yield f"  {' '.join(first_paragraph.split())}"
    for name, field, shared, differing in _fields(by_profile):
        yield from (f"  --set {owner}.{name}=...", f"      {field.description or ''}")
        yield from (f"      default: {shared or differing}", f"      valid: {valid_values(field)}")
