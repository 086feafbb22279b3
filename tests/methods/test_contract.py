"""The contract of the registry: every method, and a user's own loss, distills a tiny set end to end."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt

from bench.cells.grid import make_specs
from bench.cells.method import FeatureLoss, FeatureMatching
from bench.cells.protocol import PROFILES, SECTIONS, ConvNetSize, Match, Protocol, Training
from bench.cells.settings import _metadata, is_setting
from bench.cells.task import Task
from bench.errors import UsageError
from bench.loops.images import initial_images, normalise
from bench.machine.compute import Compute
from bench.seeding import Streams
from bench.types import Bundle, Split
from methods import METHODS, find_method

CLASSES, EACH, IPC, ITERATIONS = 3, 12, 2, 2
MATCHING = [name for name, method in METHODS.items() if isinstance(method, FeatureMatching)]
OWN_LOOP = [name for name, method in METHODS.items() if "iterations" in method.settings.model_fields]
PROTOCOL = Protocol(
    profile="quick",
    match=Match(iterations=ITERATIONS, real_batch=4),
    eval=Training(nets=1, epochs=1),
    whole=Training(nets=1, epochs=1),
    network=ConvNetSize(width=8),
)

every_method = pytest.mark.parametrize("name", METHODS)
every_iterating_method = pytest.mark.parametrize("name", [*MATCHING, *OWN_LOOP])
every_matching_method = pytest.mark.parametrize("name", MATCHING)


def tiny_bundle():
    """Return grey 8x8 images of noise, each class brighter than the one before, in no order."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat(EACH)  # 0, 1, 2, 0, ..
    noise = torch.randint(0, 100, (CLASSES * EACH, 1, 8, 8), generator=generator)
    split = Split((noise + 70 * labels[:, None, None, None]).to(torch.uint8), labels)
    return Bundle("tiny", split, split, ("dark", "grey", "bright"), (0.45,), (0.25,), flip=False)


def task_of(method, *, seed=0, **texts):
    """Return the task that the runner would make of `method`'s one cell; `texts` is what `--set` would say of the method."""
    bundle = tiny_bundle()
    source = SimpleNamespace(name="tiny", classes=bundle.classes, shape=bundle.shape)
    if method.name in OWN_LOOP:
        texts = {"iterations": str(ITERATIONS), "real_batch": "4", "start": "real"} | texts
    settings = method.resolve(texts, profile=PROTOCOL.profile)
    (spec,) = make_specs(
        methods=[(method, settings)],
        sources=[source],
        data={},
        ipcs=[IPC],
        seeds=[seed],
        protocol=PROTOCOL,
        precision="fp32",
    )
    compute = Compute(torch.device("cpu"), "fp32", torch.get_num_threads())
    return Task(bundle, spec, Streams(seed, spec.dataset, spec.ipc), compute, lambda progress: None)


def distill(method, **options):
    """Return what the method makes of its task; see `task_of`."""
    task = task_of(method, **options)
    return method.distill(task, task.spec.settings)


def as_typed(value):
    """Return a value as a user types it."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def out_of_range():
    """Return each method's name, a setting's and a value just outside of its range."""
    kinds = ((Ge, "ge", -1), (Gt, "gt", 0), (Le, "le", 1), (Lt, "lt", 0))
    return [
        (name, key, getattr(limit, attribute) + step)
        for name, method in METHODS.items()
        for key, field in method.settings.model_fields.items()
        for limit in _metadata(field)
        for kind, attribute, step in kinds
        if isinstance(limit, kind)
    ]


@every_method
def test_an_entry_says_what_it_is(name):
    method = METHODS[name]
    assert method.name == name
    assert method.label.strip()
    assert method.citation.strip()
    assert name not in SECTIONS or not method.settings.model_fields  # `--set NAME.field=value` must mean one thing
    assert ":" not in name
    assert method.sections
    assert set(method.sections) <= set(SECTIONS)
    assert callable(method.distill)
    assert re.fullmatch("#[0-9a-f]{6}", method.color)
    assert method.code == ""
    assert isinstance(method, FeatureMatching) == ("match" in method.sections)
    assert method.whole_set == ("eval" not in method.sections)


def test_labels_colours_and_places_are_one_method_s_alone():
    for values in zip(*((method.label, method.color, method.order) for method in METHODS.values()), strict=True):
        assert len(set(values)) == len(METHODS)


@every_method
def test_settings_are_typed_and_their_defaults_valid(name):
    settings = METHODS[name].settings
    for key, field in settings.model_fields.items():
        assert is_setting(field.annotation)
        assert settings.from_texts({key: as_typed(field.default)}, owner=name) == settings()  # what is typed is what is stored
    assert ("lr_images" in settings.model_fields) == (name in (*MATCHING, *OWN_LOOP))
    assert ("rate" in settings.model_fields) == (name in MATCHING)


@every_matching_method
def test_the_settings_are_the_loss(name):
    method = METHODS[name]
    assert issubclass(method.settings, FeatureLoss)
    assert method.objective is method.settings
    defaults = {key: field.default for key, field in method.settings.model_fields.items()}
    assert method.objective(**defaults) == method.objective()
    real, syn = torch.rand(2, 5, 4), torch.rand(2, 3, 4)
    assert method.objective()(real, syn, generator=torch.Generator()).shape == (2,)


@pytest.mark.parametrize(("name", "key", "value"), out_of_range())
def test_a_setting_out_of_range_is_refused_where_it_is_made(name, key, value):
    # Whoever uses the losses without the suite has no command line in front of them.
    with pytest.raises(UsageError, match=f"{key} takes"):
        METHODS[name].settings(**{key: value})
    with pytest.raises(UsageError, match=f"--set {name}.{key}: .* {key} takes"):
        METHODS[name].resolve({key: str(value)}, profile="quick")


@every_method
def test_presets_are_valid_and_leave_the_published_values_to_the_paper(name):
    method = METHODS[name]
    assert set(method.presets) <= set(PROFILES) - {"paper"}
    assert method.resolve({}, profile="paper") == method.settings()
    for profile in PROFILES:
        assert method.resolve({}, profile=profile) == method.settings(**method.presets.get(profile, {}))


@every_method
def test_distilling_returns_images_and_labels_to_train_on(name):
    syn = distill(METHODS[name])
    count = CLASSES * EACH if METHODS[name].whole_set else CLASSES * IPC
    assert syn.images.shape == (count, 1, 8, 8)
    assert syn.images.dtype == torch.float32
    assert not syn.images.requires_grad
    assert syn.images.isfinite().all()
    assert syn.labels.dtype == torch.int64
    assert syn.labels.shape == (count,)
    assert syn.labels.bincount(minlength=CLASSES).tolist() == [count // CLASSES] * CLASSES


@every_iterating_method
def test_matching_moves_every_image_away_from_its_start(name):
    start, syn = initial_images(task_of(METHODS[name])), distill(METHODS[name])
    assert torch.equal(syn.labels, start.labels)
    assert (syn.images != start.images).flatten(1).any(1).all()


@every_iterating_method
def test_matching_leaves_a_trace(name):
    trace = distill(METHODS[name]).trace
    assert len(trace.loss) == ITERATIONS
    assert all(type(value) is float and math.isfinite(value) for value in trace.loss)
    assert len(trace.iteration_seconds) == ITERATIONS
    assert set(trace.seconds) == {"features", "loss", "update"}
    assert all(seconds > 0 for seconds in trace.seconds.values())
    assert trace.kernels
    assert all(norm > 0 for norm in trace.norms)
    assert 0 < trace.angle < 3.2


@every_method
def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_stream_alone(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = distill(METHODS[name], seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = (distill(METHODS[name], seed=seed) for seed in (3, 4))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert first.trace.loss == again.trace.loss
    assert torch.equal(first.images, other.images) == METHODS[name].whole_set


@every_method
def test_a_method_that_lets_its_network_be_chosen_distills_with_another(name):
    method = METHODS[name]
    if "network" not in method.settings.model_fields:
        assert method.networks(method.settings()) == ()
        return
    assert method.networks(method.settings(network="convnet-bn")) == ("convnet-bn",)
    usual, other = (distill(method, **texts) for texts in ({}, {"network": "convnet-bn"}))
    assert other.images.shape == usual.images.shape
    assert not torch.equal(usual.images, other.images)


def test_random_takes_real_images_of_each_class_and_is_where_matching_starts():
    bundle, syn = tiny_bundle(), distill(METHODS["random"])
    real = normalise(bundle.train.images, bundle)
    chosen = set()
    for image, label in zip(syn.images, syn.labels, strict=True):
        (index,) = (real == image).flatten(1).all(1).nonzero().flatten().tolist()
        assert bundle.train.labels[index] == label
        chosen.add(index)
    assert len(chosen) == CLASSES * IPC  # without replacement
    for name in MATCHING:
        assert torch.equal(initial_images(task_of(METHODS[name])).images, syn.images)


def test_whole_is_the_training_set_in_normalised_units():
    task, syn = task_of(METHODS["whole"]), distill(METHODS["whole"])
    expected = (task.bundle.train.images.float() / 255 - 0.45) / 0.25
    torch.testing.assert_close(syn.images, expected)
    assert torch.equal(syn.labels, task.bundle.train.labels)
    assert task.spec.ipc is None


def test_a_user_s_loss_distills_as_one_of_the_suite(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def mine(real, syn, *, generator, factor: float = 1.0):\n"
        "    return factor * (real.mean(1) - syn.mean(1)).square().sum(1)\n",
        encoding="utf-8",
    )
    mine, dm = (distill(method) for method in (find_method(f"{path}:mine"), METHODS["dm"]))
    assert torch.equal(mine.images, dm.images)  # the same loss, so the same draws and the same arithmetic
    assert mine.trace.loss == dm.trace.loss


def test_the_settings_of_the_spec_reach_the_objective():
    first, *others = (distill(METHODS["kr"], **texts).images for texts in ({}, {"hidden": "7"}, {"lr_images": "3"}))
    assert not any(torch.equal(first, other) for other in others)
