"""The contract of the registry: every method, and a user's own loss, distills a tiny set end to end."""

import math
import re

import pytest
import torch
from tiny_cells import CLASSES, EACH, IPC, ITERATIONS, distill, resolved, task_of, tiny_bundle

from bench.cells.loss import FeatureLoss
from bench.cells.method import LATE, FeatureMatching
from bench.cells.protocol import PROFILES, SECTIONS
from bench.cells.settings import is_setting
from bench.errors import UsageError
from bench.loops.images import initial_images, normalise
from methods import METHODS, find_method

MATCHING = [name for name, method in METHODS.items() if isinstance(method, FeatureMatching)]
ITERATING = [name for name, method in METHODS.items() if name in MATCHING or "iterations" in method.settings.model_fields]
STARTING = [name for name in ITERATING if name in MATCHING or "start" in METHODS[name].settings.model_fields]

every_method = pytest.mark.parametrize("name", METHODS)
every_iterating_method = pytest.mark.parametrize("name", ITERATING)
every_matching_method = pytest.mark.parametrize("name", MATCHING)


def as_typed(value):
    """Return a value as a user types it."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def out_of_range():
    """Return each method's name, a setting's and a value just outside of its range."""
    limits = {"minimum": -1, "exclusiveMinimum": 0, "maximum": 1, "exclusiveMaximum": 0}
    return [
        (name, key, kind[limit] + step)
        for name, method in METHODS.items()
        for key, schema in method.settings.model_json_schema().get("properties", {}).items()
        for kind in (schema, *schema.get("anyOf", ()))
        for limit, step in limits.items()
        if limit in kind
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
    assert callable(resolved(method.procedure))
    assert re.fullmatch("(#[0-9a-f]{6})?", method.color)  # one that names none is given one
    assert (method.code, method.spelling) == ("", "")
    assert "match" in method.sections or not isinstance(method, FeatureMatching)
    assert method.whole_set == ("eval" not in method.sections)


@every_method
def test_an_entry_differs_from_the_others_in_label_colour_and_order(name):
    method, others = METHODS[name], [other for key, other in METHODS.items() if key != name]
    assert method.label not in {other.label for other in others}
    assert method.color not in {other.color for other in others} or not method.color
    assert method.order not in {other.order for other in others} or method.order == LATE


@every_method
def test_settings_are_typed_and_their_defaults_valid(name):
    settings = METHODS[name].settings
    for key, field in settings.model_fields.items():
        assert is_setting(field.annotation)
        assert settings.from_texts({key: as_typed(field.default)}, owner=name) == settings()  # what is typed is what is stored


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


@pytest.mark.parametrize("name", STARTING)
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
