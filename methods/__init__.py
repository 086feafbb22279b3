"""The registry of methods: one file a method, one line here.

Torch is imported where tensors are made, not here: `run_all.py --list` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.errors import UsageError, unknown
from bench.options import options_of
from bench.protocol import sections
from bench.types import Method, Objective, SyntheticSet, Task
from methods.cafe import LayerAlignment, align_features
from methods.coresets import FeatureNetwork, Rule, herding, kcenter, kmeans, select
from methods.dm import MeanMatching
from methods.emd import ExactTransport
from methods.gradient import GradientMatching, SiameseGradientMatching, match_gradients
from methods.kr import KantorovichRubinstein
from methods.selection import random_images, whole_set
from methods.sinkhorn import Sinkhorn
from methods.user import check_objective, load_callable, objective_factory

DC = "Zhao, Mopuri and Bilen 2021, Algorithm 1"
DSA = "Zhao and Bilen 2021"
CAFE = "Wang et al. 2022"
DM = "Zhao and Bilen 2023, eq. 4"
PAPER = "Li, Xue and Shi 2025"


def matching(
    name: str, label: str, source: str, objective: Callable[..., Objective], *, code: str = "", **lr_images: float
) -> Method:
    """Return the method that matches features under `objective`; `lr_images` are its learning rates, profile=number."""

    def distill(task: Task) -> SyntheticSet:
        from bench.matching import match

        hyper = dict(task.spec.hyper)
        if follows_run and hyper["precision"] == "auto":
            hyper["precision"] = task.spec.precision
        return match(task, objective(**hyper))

    own = options_of(objective).get("precision")
    follows_run = own is not None and own.choices == ("auto", "fp32", "bf16")
    defaults = {profile: {"lr_images": rate} for profile, rate in lr_images.items()}
    return Method(name, label, source, objective, distill, defaults=defaults, code=code)


def coreset(name: str, label: str, source: str, rule: Rule, **epochs: int) -> Method:
    """Return the method that selects real images by `rule`; `epochs` are its network's, profile=number."""

    def distill(task: Task) -> SyntheticSet:
        return select(task, rule)

    defaults = {profile: {"epochs": count} for profile, count in epochs.items()}
    used = ("whole", "eval")
    return Method(name, label, source, None, distill, sections=used, settings=FeatureNetwork, defaults=defaults)


def own_loop(
    name: str,
    label: str,
    source: str,
    settings: Callable[..., Any],
    loop: Callable[[Task, Any], SyntheticSet],
    **defaults: Mapping[str, Any],
) -> Method:
    """Return the method with a loop of its own under `settings`; `defaults` are those of its fields by profile."""

    def distill(task: Task) -> SyntheticSet:
        return loop(task, settings(**task.spec.hyper))

    return Method(name, label, source, None, distill, sections=("eval",), settings=settings, defaults=defaults)


# What a short profile's budget asks for; docs/protocol.md says how it was chosen.
_ONE_STEP = {"outer": 1, "inner": 1}
_DC_QUICK = {**_ONE_STEP, "iterations": 40, "real_batch": 32, "lr_images": 1.0}
_DC_CPU = {**_ONE_STEP, "iterations": 300, "real_batch": 64, "lr_images": 1.0}
_CAFE_QUICK = {"iterations": 5, "real_batch": 32, "query_batch": 32, "window": 3, "outer_limit": 6, "inner_limit": 6}
_CAFE_CPU = {"iterations": 40, "real_batch": 64, "query_batch": 16, "outer_limit": 15, "inner_limit": 10}

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("random", "Random", f"{PAPER}, Table 2", None, random_images, sections=("eval",)),
        coreset("herding", "Herding", "Welling 2009; Rebuffi et al. 2017, Algorithm 4", herding, quick=5, cpu=2),
        coreset("kcenter", "k-center", "Gonzalez 1985; Sener and Savarese 2018", kcenter, quick=5, cpu=2),
        coreset("kmeans", "k-means", "Lloyd 1982; Arthur and Vassilvitskii 2007", kmeans, quick=5, cpu=2),
        own_loop("dc", "DC", DC, GradientMatching, match_gradients, quick=_DC_QUICK, cpu=_DC_CPU),
        own_loop("dsa", "DSA", DSA, SiameseGradientMatching, match_gradients, quick=_DC_QUICK, cpu=_DC_CPU),
        own_loop("cafe", "CAFE", CAFE, LayerAlignment, align_features, quick=_CAFE_QUICK, cpu=_CAFE_CPU),
        matching("dm", "DM", DM, MeanMatching, quick=3.0, cpu=3.0),
        matching("kr", "KR", f"{PAPER}, Algorithm 1", KantorovichRubinstein, quick=10.0, cpu=30.0),
        matching("sinkhorn", "Sinkhorn", "Cuturi 2013; Feydy et al. 2019, eq. 3", Sinkhorn, quick=10.0, cpu=30.0),
        matching("emd", "EMD", "Bonneel et al. 2011 (network simplex)", ExactTransport, quick=10.0, cpu=30.0),
        Method("whole", "Whole", f"{PAPER}, Table 2", None, whole_set, sections=("whole",), whole=True),
    )
}


def find_method(text: str) -> Method:
    """Return the method that a name, or `path/to/file.py:function`, means; raise `UsageError` that names the valid ones.

    A user's own loss is tried on small features at once, so that a wrong one fails before work starts.
    """
    if ":" not in text:
        if text not in METHODS:
            raise unknown("method", text, [*METHODS, "path/to/file.py:function"])
        return METHODS[text]
    found, code = load_callable(text)
    name = text.rpartition(":")[2]
    if name in (taken := {*METHODS, *sections()}):
        raise UsageError(f"--methods {text!r}: the name {name!r} is taken; valid: any but {', '.join(sorted(taken))}")
    factory = objective_factory(found)
    if "lr_images" in options_of(factory):
        raise UsageError(f"--methods {text!r}: the parameter 'lr_images' is the suite's own; valid: any other name")
    for option in options_of(factory).values():
        option.check(option.default, where=f"--methods {text!r}: the default of {option.name}")
    check_objective(factory, text)
    return matching(name, name, text, factory, code=code)
