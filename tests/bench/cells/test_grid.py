"""From options to cells: each run has one description and one hash, and settings travel to the method as one object."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny import bundle, cell, protocol, source

import run_all
from bench.cells.grid import check_ipc, make_specs
from bench.cells.method import FeatureMatching
from bench.cells.protocol import PROFILES, STEP_SIZES
from bench.cells.spec import RunSpec
from bench.cells.task import Task
from bench.command.command import parse
from bench.errors import UsageError
from bench.seeding import Streams
from methods import METHODS

MATCHING = [name for name, method in METHODS.items() if isinstance(method, FeatureMatching)]
WITH_LEARNING_RATE = [name for name, method in METHODS.items() if "lr_images" in method.settings.model_fields]
every_method = pytest.mark.parametrize("name", METHODS)


def options_of(*arguments: str):
    return parse(run_all.SUITE, arguments)


def specs(*arguments: str, precision: str = "fp32") -> list[RunSpec]:
    """Return the cells of a command line, on the digits."""
    options = options_of("--ipc", "2", *arguments)
    return make_specs(
        methods=options.methods,
        sources=options.sources,
        ipcs=options.ipcs,
        seeds=options.seeds,
        protocol=options.protocol,
        precision=precision,
    )


def spec_of(*arguments: str, precision: str = "fp32") -> RunSpec:
    (spec,) = specs(*arguments, precision=precision)
    return spec


def sets(*pairs: str) -> list[str]:
    return [argument for pair in pairs for argument in ("--set", pair)]


# ---- the grid ----


def test_cells_come_by_dataset_ipc_method_and_seed_and_the_whole_set_once_a_seed():
    methods = [(METHODS[name], METHODS[name].settings()) for name in ("whole", "random", "dm")]
    cells = make_specs(
        methods=methods,
        sources=[source(bundle()), SimpleNamespace(name="other", classes=("a", "b"), shape=(3, 32, 32))],
        ipcs=[1, 5],
        seeds=[0, 3],
        protocol=protocol(),
        precision="fp32",
    )
    expected = [
        (dataset, ipc, method, seed)
        for dataset in ("tiny", "other")
        for ipc in (1, 5, None)
        for method in (("whole",) if ipc is None else ("random", "dm"))
        for seed in (0, 3)
    ]
    assert [(spec.dataset, spec.ipc, spec.method, spec.seed) for spec in cells] == expected
    assert len({spec.hash for spec in cells}) == len(cells)
    assert {spec.data for spec in cells} == {""}  # nobody has looked at the images yet


@every_method
def test_a_cell_holds_the_sections_that_its_method_uses(name):
    method, whole = METHODS[name], cell(METHODS[name])
    for section in ("match", "eval", "whole"):
        assert (getattr(whole.protocol, section) is not None) == (section in method.sections)
    assert whole.protocol.data == protocol().data
    assert whole.precision == ("fp32" if method.has_passes else None)


def test_the_depth_that_the_images_ask_for_is_part_of_the_description():
    assert (protocol().network.depth, cell(METHODS["random"]).protocol.network.depth) == (None, 2)
    assert spec_of("--methods", "dm", *sets("network.depth=1")).protocol.network.depth == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (sets("network.depth=6"), "depth 6 does not fit images of 8x8"),
        (sets("eval.networks=convnet-d6"), "depth 6 does not fit images of 8x8"),
        (sets("match.network=convnet-d6"), "depth 6 does not fit images of 8x8"),
        (sets("dc.network=convnet-d6"), "depth 6 does not fit images of 8x8"),
        (sets("herding.network=convnet-d6"), "depth 6 does not fit images of 8x8"),
    ],
)
def test_a_network_that_takes_no_such_images_is_refused_before_work_starts(arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        specs(*arguments)


def test_an_ipc_above_the_smallest_class_is_refused():
    data = bundle(each=2)
    spec = cell(METHODS["random"])
    check_ipc([spec], {"tiny": data})
    with pytest.raises(UsageError, match="--ipc 3: the smallest class of tiny, 'a', has 2 training images; valid: 1 to 2"):
        check_ipc([spec.model_copy(update={"ipc": 3})], {"tiny": data})
    check_ipc([spec.model_copy(update={"ipc": None}), spec.model_copy(update={"dataset": "other"})], {"tiny": data})


# ---- hashes ----


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@every_method
def test_a_precision_that_is_set_to_the_run_s_is_the_same_cell(name, precision):
    """One hash for one run: `auto` is resolved before a cell is described."""
    settings = [f"{section}.precision={precision}" for section in ("eval", "whole")]
    settings += [
        f"{key}.precision={precision}" for key, method in METHODS.items() if "precision" in method.settings.model_fields
    ]
    assert "kr.precision=" + precision in settings
    usual, explicit = (
        spec_of("--methods", name, precision=precision),
        spec_of("--methods", name, *sets(*settings), precision=precision),
    )
    assert explicit == usual
    assert explicit.hash == usual.hash
    assert "auto" not in usual.model_dump_json()


@every_method
def test_the_run_s_precision_is_part_of_a_cell_with_passes_alone(name):
    fixed = sets("eval.precision=fp32", "whole.precision=fp32")
    hashes = {spec_of("--methods", name, *fixed, precision=precision).hash for precision in ("fp32", "bf16")}
    assert len(hashes) == (2 if METHODS[name].has_passes else 1)
    assert len({spec_of("--methods", name, precision=precision).hash for precision in ("fp32", "bf16")}) == 2


@every_method
def test_what_changes_no_image_leaves_the_hash_alone(name):
    usual = spec_of("--methods", name)
    networks = spec_of("--methods", name, *sets("eval.networks=mlp,convnet", "whole.networks=lenet"))
    assert networks.hash == usual.hash
    assert networks.networks in (("mlp", "convnet"), ("lenet",))
    renamed = usual.model_copy(update={"protocol": usual.protocol.model_copy(update={"profile": "another"})})
    assert renamed.hash == usual.hash


@every_method
def test_settings_that_a_cell_does_not_use_leave_its_hash_alone(name):
    method = METHODS[name]
    others = [f"{key}.lr_images=77" for key in METHODS if key != name and key not in MATCHING and key in WITH_LEARNING_RATE]
    others += [f"{key}.rate=77" for key in MATCHING if key != name]
    unused = {"match": "match.iterations=77", "eval": "eval.epochs=77", "whole": "whole.epochs=77"}
    others += [pair for section, pair in unused.items() if section not in method.sections]
    assert spec_of("--methods", name, *sets(*others)).hash == spec_of("--methods", name).hash


def changes() -> list[tuple[str, str]]:
    """Return pairs of a method and a value of `--set` that must be another cell of it: each of its settings, and sections."""
    pairs = [("dm", "match.network=mlp"), ("dm", "match.iterations=7"), ("whole", "whole.epochs=7"), ("herding", "whole.lr=7")]
    for name, method in METHODS.items():
        pairs += [(name, "data.split=validation"), (name, "network.width=64")]
        if "eval" in method.sections:
            pairs += [(name, "eval.epochs=7"), (name, "eval.nets=7")]
        values = {
            "iterations": "7",
            **({"rate": "0.77"} if name in MATCHING else {"lr_images": "0.77"}),
            "network": "convnet-d1",
            "epochs": "7",
            "hidden": "256",
            "precision": "bf16",
        }
        pairs += [(name, f"{name}.{key}={value}") for key, value in values.items() if key in method.settings.model_fields]
    return pairs


@pytest.mark.parametrize(("name", "pair"), changes())
def test_what_changes_numbers_changes_the_hash(name, pair):
    assert spec_of("--methods", name, *sets(pair)).hash != spec_of("--methods", name).hash


def test_the_code_the_seed_and_the_numerics_change_the_hash():
    spec = cell(METHODS["dm"])
    others = [spec.model_copy(update={key: value}) for key, value in (("code", "x"), ("seed", 5), ("numerics", 99), ("ipc", 9))]
    assert len({spec.hash, *(other.hash for other in others)}) == 5
    assert len(spec.hash) == 16


@every_method
def test_a_description_survives_its_record(name):
    spec = spec_of("--methods", name)
    again = RunSpec.model_validate_json(spec.model_dump_json())
    assert again.hash == spec.hash
    assert dict(again.settings) == spec.settings.model_dump()
    assert again.protocol == spec.protocol


# ---- settings travel once ----


def test_what_is_set_comes_before_the_preset_and_the_preset_before_the_default():
    kr = METHODS["kr"]
    for profile in PROFILES:
        options = options_of("--methods", "kr", "--profile", profile, *sets("kr.hidden=256"))
        ((method, settings),) = options.methods
        assert method is kr
        assert settings == kr.settings(hidden=256, **kr.presets.get(profile, {}))
    changed = options_of("--methods", "dc", "--profile", "cpu", *sets("dc.lr_images=2.5")).methods[0][1]
    assert changed.lr_images == 2.5 != METHODS["dc"].presets["cpu"]["lr_images"]


SGD = ("match.optimizer=sgd",)


def step_of(name: str, *pairs: str, profile: str = "quick") -> dict[str, object]:
    """Return how a cell's description says that the images are moved."""
    match = spec_of("--methods", name, "--profile", profile, "--seeds", "0", *sets(*pairs)).protocol.match
    return {key: getattr(match, key) for key in ("optimizer", "rate", "lr_images", "momentum", "schedule")}


@pytest.mark.parametrize("profile", ["quick", "cpu"])
def test_all_losses_share_one_rate_one_schedule_and_one_momentum_in_the_short_profiles(profile):
    steps = [step_of(name, profile=profile) for name in MATCHING]
    assert len(steps) >= 4
    assert all(step == steps[0] for step in steps)
    assert steps[0]["optimizer"] == "angular"
    assert steps[0]["rate"] == STEP_SIZES["rate"]


@pytest.mark.parametrize("name", MATCHING)
def test_the_paper_keeps_the_published_steps(name):
    published = {"optimizer": "sgd", "rate": None, "lr_images": 1.0, "momentum": 0.5, "schedule": "constant"}
    assert step_of(name, profile="paper") == published


@pytest.mark.parametrize("name", MATCHING)
def test_a_step_of_one_loss_alone_comes_before_the_common_one(name):
    assert step_of(name, "match.rate=0.2")["rate"] == 0.2
    assert step_of(name, "match.rate=0.2", f"{name}.rate=0.1")["rate"] == 0.1
    assert step_of(name, *SGD, "match.lr_images=3")["lr_images"] == 3.0
    assert step_of(name, *SGD, "match.lr_images=3", f"{name}.lr_images=2.5")["lr_images"] == 2.5
    own, common = (spec_of("--methods", name, *sets(pair)) for pair in (f"{name}.rate=0.2", "match.rate=0.2"))
    assert own.hash == common.hash  # one run has one description


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["match.lr_images=3"], ["--set match.lr_images=3", "optimizer=angular", "match.rate"]),
        (["kr.lr_images=3"], ["--set kr.lr_images=3", "optimizer=angular", "kr.rate"]),
        ([*SGD, "match.rate=0.1"], ["--set match.rate=0.1", "optimizer=sgd", "match.lr_images"]),
        ([*SGD, "kr.rate=0.1"], ["--set kr.rate=0.1", "optimizer=sgd", "kr.lr_images"]),
        (["match.lr_images=0"], ["match.lr_images", "above 0"]),
        (["match.optimizer=angula"], ["match.optimizer", "did you mean 'angular'"]),
    ],
)
def test_a_step_size_of_the_other_optimizer_is_a_mistake_that_says_so(pairs, expected):
    with pytest.raises(UsageError) as error:
        specs("--methods", "dm,kr", *sets(*pairs))
    assert all(phrase in str(error.value) for phrase in expected), str(error.value)


def test_the_settings_made_from_the_command_line_are_those_of_the_task():
    options = options_of("--methods", "kr", "--ipc", "2", *sets("kr.hidden=256", "kr.precision=fp32"))
    (method, settings), *_ = options.methods
    assert (type(settings), settings.hidden) == (METHODS["kr"].settings, 256)
    spec = cell(method, settings)
    assert spec.settings is settings
    assert Task(bundle(), spec, Streams(0, "tiny", 2), None, lambda progress: None).settings is settings
    assert settings.for_cell() is settings  # the settings are the loss
    auto = settings.changed(precision="auto")
    assert cell(method, auto, precision="bf16").settings == settings.changed(precision="bf16")


@pytest.mark.parametrize(
    ("ipc", "iterations", "epochs"), [("1", 150, 300), ("5", 150, 300), ("10", 1000, 1000), ("50", 1000, 1000)]
)
def test_the_profile_for_two_cores_matches_and_trains_longer_where_there_are_more_images_a_class(ipc, iterations, epochs):
    (spec,) = specs("--methods", "kr", "--profile", "cpu", "--ipc", ipc)
    assert (spec.protocol.match.iterations, spec.protocol.eval.epochs) == (iterations, epochs)
    usual = "--iterations", str(iterations), "--set", f"eval.epochs={epochs}"
    (explicit,) = specs("--methods", "kr", "--profile", "cpu", "--ipc", ipc, *usual)
    assert explicit.hash == spec.hash
    (other,) = specs("--methods", "kr", "--profile", "cpu", "--ipc", ipc, "--iterations", "7", "--set", "eval.epochs=9")
    assert (other.protocol.match.iterations, other.protocol.eval.epochs) == (7, 9)


# ---- a learning rate of the images' own ----


@every_method
def test_a_learning_rate_that_the_images_do_not_carry_is_refused_before_work(name):
    method = METHODS[name]
    for section in {"eval", "whole"} & set(method.sections):
        valid = "a number above 0, or methods that learn one" if section == "eval" else "a number above 0"
        if section == "eval" and method.learns_lr:
            continue
        with pytest.raises(UsageError, match=rf"--set {section}.lr=own: .* learning rate; valid: {valid}"):
            spec_of("--methods", name, *sets(f"{section}.lr=own"))


def test_a_method_that_learns_a_rate_may_be_evaluated_with_it():
    method = replace(METHODS["dm"], learns_lr=True)
    spec = cell(method, eval={"lr": "own"})
    assert spec.protocol.eval.lr == "own"
    assert json.loads(spec.model_dump_json())["protocol"]["eval"]["lr"] == "own"
    assert RunSpec.model_validate_json(spec.model_dump_json()).hash == spec.hash != cell(method).hash
