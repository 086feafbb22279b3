"""What records of older versions say, as records of today."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from bench.protocol import Protocol
from bench.records import SCHEMA_VERSION, Evaluation, MethodFacts, NetworkFacts, RunRecord
from bench.spec import RecordedSettings, RunSpec

_SECTIONS = ("match", "eval", "whole")

_WITHOUT_PASSES = frozenset({"random", "herding", "kcenter", "kmeans", "whole"})
"""The methods that optimise no images: the run's precision enters their protocol, but not the description itself."""

_NEW_SETTINGS: dict[str, dict[str, Any]] = {
    "kr": {"precision": "auto"},
    **{method: {"network": "convnet"} for method in ("dc", "dsa", "cafe", "herding", "kcenter", "kmeans")},
}
"""Settings that a method has today and that its older records lack, with the value that these records were made under."""

_FACTS: dict[str, tuple[int, str, str]] = {
    "random": (10, "#949494", "Li, Xue and Shi 2025, Table 2"),
    "herding": (20, "#de8f05", "Welling 2009; Rebuffi et al. 2017, Algorithm 4"),
    "kcenter": (30, "#8c613c", "Gonzalez 1985; Sener and Savarese 2018"),
    "kmeans": (40, "#b1400d", "Lloyd 1982; Arthur and Vassilvitskii 2007"),
    "dc": (50, "#56b4e9", "Zhao, Mopuri and Bilen 2021, Algorithm 1"),
    "dsa": (60, "#ca9161", "Zhao and Bilen 2021"),
    "cafe": (70, "#fbafe4", "Wang et al. 2022"),
    "dm": (80, "#0173b2", "Zhao and Bilen 2023, eq. 4"),
    "kr": (90, "#d55e00", "Li, Xue and Shi 2025, Algorithm 1"),
    "sinkhorn": (100, "#029e73", "Cuturi 2013; Feydy et al. 2019, eq. 3"),
    "emd": (110, "#cc78bc", "Bonneel et al. 2011 (network simplex)"),
    "whole": (1000, "#4d4d4d", "Li, Xue and Shi 2025, Table 2"),
}
"""Order, colour and citation of the methods that the suite had in version 1, whose records lack them."""


_DATA: dict[str, str] = {
    "digits": "8d350e84c6397dbe",
    "mnist": "0aa7c20ef49bc778",
    "fashionmnist": "716d5f68e8f5db27",
    "cifar10": "fa6b6d2fe0dd4f6e",
}
"""The published sets, by the beginning of their fingerprints' digests: older records do not say which images a set held."""


def from_version_1(old: Mapping[str, Any]) -> RunRecord:
    """Return the record of today that says what one of version 1 said, but for the images.

    Args:
        old: the content of the old record's file.

    Raises:
        UsageError, ValueError, KeyError, TypeError: where `old` is no complete record of version 1.

    """
    spec = spec_from_version_1(old["spec"])
    seconds = {stage: value for stage, value in old["seconds"].items() if stage != "evaluation"}
    details = dict(old["details"])
    if "kernels" in details:
        details["kernels"] = {name: kernel for name, kernel in details["kernels"].items() if name != "evaluation"}
    order, color, citation = _FACTS.get(spec.method, (MethodFacts(label="").order, "", ""))
    return RunRecord(
        hash=spec.hash,
        status=old["status"],
        spec=spec,
        method=MethodFacts(label=old["labels"].get("method", spec.method), order=order, color=color, citation=citation),
        dataset_label=old["labels"].get("dataset", spec.dataset),
        error=old["error"],
        evaluations=_evaluations(old),
        loss=tuple(old["loss"]),
        seconds=seconds,
        seconds_per_iteration=old["seconds_per_iteration"],
        peak_memory_mib=old["peak_memory_mib"],
        hardware=old["hardware"],
        versions=old["versions"],
        code=old["code"],
        details=details,
        finished=old["finished"],
    )


def spec_from_version_1(old: Mapping[str, Any]) -> RunSpec:
    """Return the description that a `spec` of version 1 stands for; raise as `from_version_1` does.

    Each precision `auto` becomes the run's, and fields that came later get the values that the record was made under.
    """
    method, precision = old["method"], old["precision"]
    protocol = {name: dict(value) if isinstance(value, Mapping) else value for name, value in old["protocol"].items()}
    settings = {**_NEW_SETTINGS.get(method, {}), **old["hyper"]}
    if "match" in protocol:
        protocol["match"]["lr_images"] = float(protocol["match"]["lr_images"])  # the optimizer was SGD, which is the default
    checked = Protocol.model_validate({**dict.fromkeys(_SECTIONS), **protocol})
    used = {name: getattr(checked, name) for name in _SECTIONS if name in protocol}
    data, code = _data_and_code(old["dataset"], old.get("code", ""))
    return RunSpec(
        dataset=old["dataset"],
        ipc=old["ipc"],
        method=method,
        seed=old["seed"],
        settings=RecordedSettings.model_validate(settings).at_precision(precision),
        protocol=checked.model_copy(update={name: section.at_precision(precision) for name, section in used.items()}),
        precision=None if method in _WITHOUT_PASSES else precision,
        code=code,
        data=data,
        numerics=old["numerics"],
    )


def _evaluations(old: Mapping[str, Any]) -> tuple[Evaluation, ...]:
    """Return the evaluation that a record of version 1 holds: by the ConvNet, or none where the cell failed."""
    if not old["accuracies"]:
        return ()
    network = old["network"]
    evaluation = Evaluation(
        network="convnet",
        facts=NetworkFacts(label=network["name"], width=network["width"], depth=network["depth"], features=network["features"]),
        accuracies=tuple(old["accuracies"]),
        seconds=old["seconds"]["evaluation"],
        kernel=old["details"].get("kernels", {}).get("evaluation", ""),
        finished=old["finished"],
    )
    return (evaluation,)


def from_version_2(old: Mapping[str, Any]) -> RunRecord:
    """Return the record of today that says what one of version 2 said, but for the images; raise as `from_version_1` does.

    The learning rate on the images moves from the method's settings to the protocol's section `match`. The optimizer was SGD
    with a constant learning rate, the default.
    """
    content = copy.deepcopy(dict(old))
    match = content["spec"]["protocol"]["match"]
    if match is not None:
        match["lr_images"] = content["spec"]["settings"].pop("lr_images")
    return from_version_3(content)


def from_version_3(old: Mapping[str, Any]) -> RunRecord:
    """Return the record of today that says what one of version 3 said, but for the images; raise as `from_version_1` does.

    The description comes to say which images the dataset held.
    """
    content = dict(old)
    data, code = _data_and_code(old["spec"]["dataset"], old["spec"].get("code", ""))
    spec = RunSpec.model_validate({**content["spec"], "data": data, "code": code})
    content.pop("has_images", None)
    changes = {"schema_version": SCHEMA_VERSION, "spec": spec.model_dump(mode="json"), "hash": spec.hash}
    return RunRecord.model_validate_json(json.dumps({**content, **changes}))


def _data_and_code(dataset: str, code: str) -> tuple[str, str]:
    """Return the dataset's `data` and the method's `code` that an older `code` stands for: a folder's hash was a part of it."""
    if dataset.startswith("folder:"):
        method, _, data = code.rpartition("+")
        return data, method
    return _DATA.get(dataset, ""), code


RENEWALS: dict[int, Callable[[Mapping[str, Any]], RunRecord]] = {1: from_version_1, 2: from_version_2, 3: from_version_3}
"""By the version of an old record, the function that returns today's record."""
