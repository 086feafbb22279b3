"""Coresets: each rule against loops over numbers in float64, and the selection against the engine's own pieces."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clouds import generator
from tiny_cells import PROTOCOL, distilled, prepared, task_of, tiny_bundle

from bench.cells.protocol import PROFILES
from bench.errors import DistillationError
from bench.loops.images import normalise
from bench.loops.training import Trainer
from bench.types import Split
from methods import METHODS
from methods.selections.coreset import select
from methods.selections.herding import herding
from methods.selections.kcenter import kcenter
from methods.selections.kmeans import kmeans, nearest_rows

RULES = {
    name: method.procedure.args[0] for name, method in METHODS.items() if getattr(method.procedure, "func", None) is select
}
every_rule = pytest.mark.parametrize("name", RULES)
clouds = pytest.mark.parametrize("seed", range(5))


def cloud(seed, n=12, d=3):
    return torch.rand(n, d, generator=generator(seed))


def distance(x, y):
    return sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True)) ** 0.5


# ---- rules ----


@clouds
def test_herding_is_the_greedy_argmin_by_brute_force(seed):
    features = cloud(seed).numpy().astype(np.float64)
    mean, chosen = features.mean(0), []
    for step in range(len(features)):
        left = [
            (distance((step + 1) * mean, sum(features[other] for other in chosen) + features[index]), index)
            for index in range(len(features))
            if index not in chosen
        ]
        chosen.append(min(left)[1])
    assert herding(cloud(seed), len(features), generator=generator()).tolist() == chosen


@clouds
def test_kcenter_is_farthest_first_from_the_mean_by_brute_force(seed):
    features = cloud(seed).numpy().astype(np.float64)
    chosen = [min((distance(features.mean(0), row), index) for index, row in enumerate(features))[1]]
    while len(chosen) < len(features):
        reach = [(min(distance(row, features[other]) for other in chosen), index) for index, row in enumerate(features)]
        chosen.append(max(reach)[1])
    assert kcenter(cloud(seed), len(features), generator=generator()).tolist() == chosen


@clouds
def test_kmeans_takes_the_row_nearest_to_the_mean_of_each_cluster(seed):
    corners = 100 * torch.eye(4)
    groups = [corner + torch.rand(7, 4, generator=generator(seed * 10 + index)) for index, corner in enumerate(corners)]
    expected = set()
    for index, group in enumerate(groups):
        expected.add(7 * index + min((distance(group.mean(0), row), row_index) for row_index, row in enumerate(group))[1])
    assert set(kmeans(torch.cat(groups), 4, generator=generator(seed)).tolist()) == expected


def test_kmeans_draws_from_the_generator_alone_and_gives_threads_back():
    features, threads = cloud(0, n=40), torch.get_num_threads()
    np.random.seed(0)  # noqa: NPY002  (the global state that must not matter)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, *others = (kmeans(features, 6, generator=generator(seed)) for seed in (1, 1, 2, 3, 4))
    assert torch.equal(first, again)
    assert any(set(first.tolist()) != set(other.tolist()) for other in others)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads


def test_centroids_that_share_their_nearest_row_get_different_ones():
    features = torch.tensor([[0.0], [1.0], [5.0]])
    assert nearest_rows(torch.tensor([[0.0], [0.1], [0.2]]), features).tolist() == [0, 1, 2]
    assert nearest_rows(torch.tensor([[0.9], [4.0], [0.8]]), features).tolist() == [1, 2, 0]


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # scikit-learn's word on duplicates
@every_rule
def test_no_row_is_chosen_twice_even_among_duplicates(name):
    features = torch.cat([torch.ones(4, 2), torch.zeros(2, 2)])
    for count in (1, 3, 6):
        chosen = RULES[name](features, count, generator=generator())
        assert chosen.dtype == torch.int64
        assert len(set(chosen.tolist())) == count == len(chosen)


@clouds
def test_one_row_is_the_nearest_to_the_mean_by_each_of_these_rules(seed):
    features = cloud(seed)
    expected = min((distance(features.mean(0), row), index) for index, row in enumerate(features))[1]
    assert [rule(features, 1, generator=generator()).tolist() for rule in (herding, kcenter, kmeans)] == [[expected]] * 3


# ---- selection ----


def uneven(method, **texts):
    """Return a task whose classes have 12, 11 and 9 training images."""
    task, bundle = task_of(method, **texts), tiny_bundle()
    kept = torch.tensor([index for index in range(36) if index not in (1, 14, 29, 35)])
    train = Split(bundle.train.images[kept], bundle.train.labels[kept])
    assert sorted(train.labels.bincount().tolist()) == [9, 11, 12]
    return replace(task, bundle=replace(bundle, train=train))


def class_features(task, epochs):
    """Return each class's features under the network that is to be prepared, and that class's indices."""
    train = task.bundle.train
    images = normalise(train.images, task.bundle)
    network = task.network("convnet")
    trainer = Trainer(task, network, train.labels, task.whole.changed(epochs=epochs), stage="selection")
    weights = trainer.train(images, 0, lambda epoch, begin: None)
    with torch.no_grad():
        features = network.features(images, weights.all)
    members = [(train.labels == label).nonzero().flatten() for label in range(3)]
    return [features[index] for index in members], members


@every_rule
def test_a_method_selects_by_features_of_a_network_trained_on_the_whole_set(name):
    task = uneven(METHODS[name], epochs="3")
    syn = distilled(METHODS[name], task)
    features, members = class_features(task, 3)
    expected = []
    for label, (rows, index) in enumerate(zip(features, members, strict=True)):
        expected += index[RULES[name](rows, 2, generator=task.streams.generator("selection", label + 1))].tolist()
    assert torch.equal(syn.images, normalise(task.bundle.train.images[expected], task.bundle))
    assert syn.labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(("text", "epochs"), [("4", 4), ("none", PROTOCOL.whole.epochs)])
def test_a_rule_sees_one_class_at_a_time_under_a_network_of_so_many_epochs(text, epochs):
    task = uneven(METHODS["herding"], epochs=text)
    features_by_class = []

    def rule(features, count, *, generator):
        assert count == 2
        assert not features.requires_grad
        features_by_class.append(features)
        return torch.tensor([1, 0])

    syn = select(rule, prepared(METHODS["herding"], task))
    expected, members = class_features(task, epochs)
    for features, rows in zip(features_by_class, expected, strict=True):
        torch.testing.assert_close(features, rows, atol=1e-5, rtol=1e-4)
    order = [int(index[row]) for index in members for row in (1, 0)]
    assert torch.equal(syn.images, normalise(task.bundle.train.images[order], task.bundle))


def test_training_is_prepared_and_reported_while_it_goes_on_and_is_no_part_of_the_cell_s_seconds():
    reports = []
    task = replace(task_of(METHODS["kcenter"], epochs="2"), report=reports.append)
    task = prepared(METHODS["kcenter"], task)
    assert [progress.done for progress in reports] == [0, 36, 72]  # a batch an epoch; `step` trains one epoch more than named
    assert {(progress.stage, progress.total) for progress in reports} == {("prepare", 108)}
    reports.clear()
    trace = METHODS["kcenter"].procedure(task).trace
    assert reports == []
    assert set(trace.seconds) == {"features", "loss"}
    assert all(seconds > 0 for seconds in trace.seconds.values())
    assert (trace.loss, trace.iteration_seconds) == ((), ())
    assert set(trace.kernels) == {"selection features"}


def test_all_rules_ask_for_one_network_at_a_seed_and_number_of_epochs():
    def hashes(**options):
        specs = [METHODS[name].artefacts(task_of(METHODS[name], **options).spec) for name in RULES]
        return {artefact.hash for artefacts in specs for artefact in artefacts}

    assert [len(hashes(**options)) for options in ({}, {"seed": 1}, {"epochs": "4"})] == [1, 1, 1]
    assert len(hashes() | hashes(seed=1) | hashes(epochs="4") | hashes(network="lenet")) == 4


def test_a_network_that_diverges_is_an_error():
    task = task_of(METHODS["herding"])
    protocol = task.spec.protocol.changed(whole=task.whole.changed(lr=1e30))
    diverging = replace(task, spec=task.spec.model_copy(update={"protocol": protocol}))
    with pytest.raises(DistillationError, match="no finite numbers"):
        distilled(METHODS["herding"], diverging)


@every_rule
def test_short_profiles_train_less_and_the_paper_s_as_long_as_the_whole_set(name):
    epochs = {profile: METHODS[name].resolve({}, profile=profile).epochs for profile in PROFILES}
    assert epochs == {"quick": 5, "cpu": 2, "paper": None}


def test_the_features_may_be_another_network_s():
    task = uneven(METHODS["herding"], network="lenet")
    widths = []

    def rule(features, count, *, generator):
        widths.append(features.shape[1])
        return herding(features, count, generator=generator)

    syn = select(rule, prepared(METHODS["herding"], task))
    assert set(widths) == {task.network("lenet").features_dim}
    assert syn.images.shape == (6, 1, 8, 8)  # of the dataset's size, though LeNet sees them enlarged
