"""The contract of the registry: every method, and a user's own loss, distills a tiny set end to end."""

import math
from types import SimpleNamespace

import pytest
import torch

from bench.compute import Compute
from bench.errors import UsageError
from bench.matching import initial_images, normalise
from bench.networks import ConvNet
from bench.protocol import PROFILES, Match, Network, Protocol, Training, sections
from bench.runner import make_specs
from bench.seeding import Streams
from bench.types import Bundle, Split, Task
from methods import METHODS, find_method

CLASSES, EACH, IPC, ITERATIONS = 3, 12, 2, 2
MATCHING = [name for name, method in METHODS.items() if "match" in method.sections]
OWN_LOOP = [name for name, method in METHODS.items() if method.settings and "iterations" in method.options()]
PROTOCOL = Protocol(
    profile="quick",
    match=Match(iterations=ITERATIONS, real_batch=4),
    eval=Training(nets=1, epochs=1),
    whole=Training(nets=1, epochs=1),
    network=Network(width=8),
)

every_method = pytest.mark.parametrize("name", METHODS)
every_iterating_method = pytest.mark.parametrize("name", [*MATCHING, *OWN_LOOP])
every_matching_method = pytest.mark.parametrize("name", MATCHING)


def tiny_bundle():
    """Return grey 8x8 images of noise, each class brighter than the one before, in no order."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat(EACH)  # 0, 1, 2, 0, ..
    noise = torch.randint(0, 100, (CLASSES * EACH, 1, 8, 8), generator=draw)
    split = Split((noise + 70 * labels[:, None, None, None]).to(torch.uint8), labels)
    return Bundle("tiny", split, split, ("dark", "grey", "bright"), (0.45,), (0.25,), flip=False)


def task_of(method, *, seed=0, **texts):
    """Return the task that the runner would make of `method`'s one cell; `texts` is what `--set` would say of the method."""
    bundle = tiny_bundle()
    source = SimpleNamespace(name="tiny", shape=bundle.shape, code="")
    if method.name in OWN_LOOP:
        texts = {"iterations": str(ITERATIONS), "real_batch": "4", "start": "real"} | texts
    hyper = {method.name: texts}
    (spec,) = make_specs(
        methods=[method], sources=[source], ipcs=[IPC], seeds=[seed], protocol=PROTOCOL, hyper=hyper, precision="fp32"
    )
    settings = spec.protocol.network
    network = ConvNet.fit(bundle.shape, classes=CLASSES, width=settings.width, depth=settings.depth)
    compute = Compute(torch.device("cpu"), "fp32", torch.get_num_threads())
    return Task(bundle, spec, network, Streams(seed, spec.dataset, spec.ipc), compute, lambda progress: None)


@every_method
def test_an_entry_says_what_it_is(name):
    method = METHODS[name]
    assert method.name == name
    assert method.label.strip()
    assert method.source.strip()
    assert name not in sections() or not method.options()  # `--set NAME.field=value` must mean one thing
    assert ":" not in name
    assert method.sections
    assert set(method.sections) <= set(sections())
    assert callable(method.distill)
    assert (method.objective is not None) == ("match" in method.sections)


@every_method
def test_options_are_typed_and_their_defaults_valid(name):
    options = METHODS[name].options()
    for key, option in options.items():
        assert option.name == key
        assert option.kind in (int, float, bool, str)
        option.check(option.default, where=name)
        if option.default is not None:  # what a user types is what is stored
            assert option.parse(str(option.default), where=name) == option.default
    assert ("lr_images" in options) == (name in (*MATCHING, *OWN_LOOP))


@every_matching_method
def test_options_are_all_that_the_objective_takes(name):
    method = METHODS[name]
    hyper = {key: option.default for key, option in method.options().items() if key != "lr_images"}
    assert method.objective(**hyper) == method.objective()  # frozen dataclasses: equal settings, equal objectives


RANGED = [
    (name, key) for name in MATCHING for key, option in METHODS[name].options().items() if option.range and key != "lr_images"
]


@pytest.mark.parametrize(("name", "key"), RANGED)
def test_an_objective_out_of_range_is_refused_where_it_is_made(name, key):
    # Whoever uses the losses without the suite has no command line in front of them.
    bounds = METHODS[name].options()[key].range
    outside = bounds.above if bounds.above is not None else bounds.low - 1
    with pytest.raises(UsageError, match=f"{key} takes"):
        METHODS[name].objective(**{key: outside})


@every_method
def test_defaults_by_profile_are_valid_and_leave_the_published_ones_to_the_paper(name):
    method = METHODS[name]
    assert set(method.defaults) <= set(PROFILES) - {"paper"}
    for profile, values in method.defaults.items():
        for key, value in values.items():
            method.options()[key].check(value, where=f"{name} in {profile}")


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.settings])
def test_settings_of_a_loop_of_its_own_are_refused_where_they_are_out_of_range(name):
    for key, option in METHODS[name].options().items():
        if option.range:
            outside = option.range.above if option.range.above is not None else option.range.low - 1
            with pytest.raises(UsageError, match=f"{key} takes"):
                METHODS[name].settings(**{key: outside})


@every_method
def test_distilling_returns_images_and_labels_to_train_on(name):
    task = task_of(METHODS[name])
    syn = METHODS[name].distill(task)
    count = CLASSES * EACH if METHODS[name].whole else CLASSES * IPC
    assert syn.images.shape == (count, 1, 8, 8)
    assert syn.images.dtype == torch.float32
    assert not syn.images.requires_grad
    assert syn.images.isfinite().all()
    assert syn.labels.dtype == torch.int64
    assert syn.labels.shape == (count,)
    assert syn.labels.bincount(minlength=CLASSES).tolist() == [count // CLASSES] * CLASSES


@every_iterating_method
def test_matching_moves_every_image_away_from_its_start(name):
    task = task_of(METHODS[name])
    start, syn = initial_images(task), METHODS[name].distill(task)
    assert torch.equal(syn.labels, start.labels)
    assert (syn.images != start.images).flatten(1).any(1).all()


@every_iterating_method
def test_matching_leaves_a_trace(name):
    trace = METHODS[name].distill(task_of(METHODS[name])).trace
    assert len(trace.loss) == ITERATIONS
    assert all(type(value) is float and math.isfinite(value) for value in trace.loss)
    assert len(trace.iteration_seconds) == ITERATIONS
    assert set(trace.seconds) == {"features", "loss", "update"}
    assert all(seconds > 0 for seconds in trace.seconds.values())
    assert trace.kernels


@every_method
def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_stream_alone(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = METHODS[name].distill(task_of(METHODS[name], seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = (METHODS[name].distill(task_of(METHODS[name], seed=seed)) for seed in (3, 4))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert first.trace.loss == again.trace.loss
    assert torch.equal(first.images, other.images) == METHODS[name].whole


def test_random_takes_real_images_of_each_class_and_is_where_matching_starts():
    task = task_of(METHODS["random"])
    syn = METHODS["random"].distill(task)
    real = normalise(task.bundle.train.images, task.bundle)
    chosen = set()
    for image, label in zip(syn.images, syn.labels, strict=True):
        (index,) = (real == image).flatten(1).all(1).nonzero().flatten().tolist()
        assert task.bundle.train.labels[index] == label
        chosen.add(index)
    assert len(chosen) == CLASSES * IPC  # without replacement
    for name in MATCHING:
        assert torch.equal(initial_images(task_of(METHODS[name])).images, syn.images)


def test_whole_is_the_training_set_in_normalised_units():
    task = task_of(METHODS["whole"])
    syn = METHODS["whole"].distill(task)
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
    method = find_method(f"{path}:mine")
    mine, dm = (each.distill(task_of(each, lr_images="1")) for each in (method, METHODS["dm"]))
    assert torch.equal(mine.images, dm.images)  # the same loss, so the same draws and the same arithmetic
    assert mine.trace.loss == dm.trace.loss


def test_hyper_parameters_of_the_spec_reach_the_objective():
    method = METHODS["kr"]
    first, *others = (method.distill(task_of(method, **texts)).images for texts in ({}, {"hidden": "7"}, {"lr_images": "3"}))
    assert not any(torch.equal(first, other) for other in others)
