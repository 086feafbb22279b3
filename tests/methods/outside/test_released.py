"""A distilled set of anybody's as a method: what of it is evaluated, in which cells, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from released_sets import BUNDLE, CLASSES, MEAN, PROTOCOL, SPLIT, STD, content, distilled, source, specs, warnings_of
from runners import runner

from bench.cells.grid import make_specs
from bench.cells.task import Task
from bench.errors import UsageError
from bench.files import DataWarning
from bench.loops.evaluation import with_own_lr
from bench.loops.images import normalise
from bench.loops.training import Trainer
from bench.machine.compute import Compute
from bench.seeding import Streams
from bench.sets import Distillation, DistilledSet, write_arrays, write_condensation, write_pictures
from bench.types import Bundle, SyntheticSet
from methods import find_method


@pytest.fixture
def method_of(tmp_path):
    """Return a function that writes a set and returns the method of the file."""

    def make(given: DistilledSet, name="made.npz", write=write_arrays):
        write(tmp_path / name, given)
        return find_method(f"set:{tmp_path / name}")

    return make


# ---- what is evaluated ----


@pytest.mark.parametrize("soft", [False, True])
def test_images_in_the_datasets_units_stay_as_they_are(method_of, soft):
    given = content(seeds=(0, 4), soft=soft)
    method = method_of(given)
    for one in given.distillations:
        syn = distilled(method, seed=one.seed)
        assert syn.images.dtype == torch.float32
        assert torch.equal(syn.images, torch.from_numpy(one.images))
        assert syn.labels.dtype == (torch.float32 if soft else torch.int64)
        assert torch.equal(syn.labels, torch.from_numpy(one.labels))


def test_images_in_other_units_mean_the_same_pixels(method_of):
    given = content(mean=(0.1, 0.6), std=(0.5, 1.5))
    syn = distilled(method_of(given))
    original = given.distillations[0].images
    for channel in range(2):
        pixels = original[:, channel] * given.std[channel] + given.mean[channel]
        assert np.allclose(syn.images[:, channel].numpy() * STD[channel] + MEAN[channel], pixels, atol=1e-6)
    assert not np.allclose(syn.images.numpy(), original, atol=0.1)


def test_the_command_line_says_what_the_file_does_not(method_of):
    given = content(mean=(), std=())
    said = distilled(method_of(given), mean="0.1,0.6", std="0.5,1.5")
    written = distilled(method_of(replace(given, mean=(0.1, 0.6), std=(0.5, 1.5))))
    assert torch.equal(said.images, written.images)


def test_pixels_are_normalised_as_the_real_images_are(method_of):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 2, 8, 8), dtype=np.uint8)
    given = replace(content(), distillations=(Distillation.of(0, pixels, np.repeat(np.arange(3), 2)),))
    assert torch.equal(distilled(method_of(given)).images, normalise(torch.from_numpy(pixels), BUNDLE))


@pytest.mark.parametrize("soft", [False, True])
def test_labels_follow_the_names_of_the_classes(method_of, soft):
    given = content(soft=soft, classes=("grey", "bright", "dark"))
    labels = distilled(method_of(given)).labels
    names = [given.classes[label] for label in given.distillations[0].hard_labels]
    assert [CLASSES[label] for label in (labels.argmax(1) if soft else labels)] == names
    if soft:
        assert torch.equal(labels.sort(1).values, torch.from_numpy(given.distillations[0].labels).sort(1).values)


def test_pictures_in_folders_of_names(tmp_path):
    grey = Bundle("tiny", SPLIT, SPLIT, CLASSES, (0.4,), (0.2,), flip=False)
    pixels = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) * np.ones((3, 1, 8, 8), np.uint8)
    write_pictures(tmp_path / "set", DistilledSet(distillations=(Distillation.of(0, pixels, np.arange(3)),)))
    for label, name in enumerate(CLASSES):
        (tmp_path / "set" / "seed-0" / str(label)).rename(tmp_path / "set" / "seed-0" / name)
    method = find_method(f"set:{tmp_path / 'set'}")
    (spec,) = specs(method, source(shape=(1, 8, 8)), ipcs=(1,))
    task = Task(grey, spec, Streams(0, "tiny", 1), Compute(torch.device("cpu"), "fp32", 1), lambda progress: None)
    syn = method.procedure(task)
    values = {
        CLASSES[label]: round(float(image.mean() * 0.2 + 0.4) * 255) for image, label in zip(*syn_parts(syn), strict=True)
    }
    assert values == {"dark": 0, "grey": 1, "bright": 2}  # not the alphabetical order of the folders


def syn_parts(syn: SyntheticSet):
    return syn.images, syn.labels.tolist()


# ---- the learning rate that it carries ----


def test_a_set_that_carries_learning_rates_says_so(method_of):
    method = method_of(content(seeds=(0, 4), lr=0.02))
    assert method.learns_lr
    assert [distilled(method, seed=seed).lr for seed in (0, 4)] == [0.02, 0.1]
    silent = method_of(content(seeds=(0, 4)))
    assert not silent.learns_lr
    assert distilled(silent).lr is None
    assert method.code != silent.code  # a number depends on it


def own_rate(**fields):
    return PROTOCOL.changed(eval=PROTOCOL.eval.changed(nets=1, epochs=3, **fields), network=PROTOCOL.network.changed(width=8))


def accuracies(method, protocol, folder):
    """Return the record of the method's one cell, with its own images, and the values of its evaluation."""
    [spec] = make_specs(
        methods=[(method, method.settings())], sources=[source()], ipcs=[2], seeds=[0], protocol=protocol, precision="fp32"
    )
    record = runner(folder, data=BUNDLE, **{method.name: method}).run([spec])[0]
    assert record.status == "ok", record.error
    return record, record.main_evaluation.values


def test_its_own_learning_rate_gives_the_same_bits_as_that_number(method_of, tmp_path):
    method = method_of(content(lr=0.03))
    record, own = accuracies(method, own_rate(lr="own"), tmp_path / "own")
    assert record.lr == 0.03
    _, typed = accuracies(method, own_rate(lr=0.03), tmp_path / "typed")
    usual, _ = accuracies(method, own_rate(), tmp_path / "usual")
    assert usual.spec.protocol.eval.lr == 0.01  # the default is the protocol's
    assert own == typed
    assert trained(method, own_rate(lr="own")) == trained(method, own_rate(lr=0.03)) != trained(method, own_rate())
    # Images that are read again, for another network, have it too.
    again, _ = accuracies(method, own_rate(lr="own", networks=("convnet", "mlp")), tmp_path / "own")
    assert [evaluation.network for evaluation in again.evaluations] == ["convnet", "mlp"]
    assert again.evaluations[0].values == own


def trained(method, protocol):
    """Return the weights of a network trained on the set, as numbers."""
    [spec] = make_specs(
        methods=[(method, method.settings())], sources=[source()], ipcs=[2], seeds=[0], protocol=protocol, precision="fp32"
    )
    task = Task(BUNDLE, spec, Streams(0, "tiny", 2), Compute(torch.device("cpu"), "fp32", 1), lambda progress: None)
    syn = method.procedure(task)
    network = task.network("convnet")
    trainer = Trainer(task, network, syn.labels, with_own_lr(spec.protocol.eval, syn))
    weights = trainer.train(network.resize(syn.images), 0, lambda epoch, begin: None)
    return [tensor.sum().item() for tensor in weights.all]


def test_a_set_without_a_learning_rate_cannot_be_evaluated_with_its_own(method_of):
    with pytest.raises(UsageError, match=r"--set eval\.lr=own: .* carry no learning rate; valid: a number above 0"):
        make_specs(
            methods=[(method := method_of(content()), method.settings())],
            sources=[source()],
            ipcs=[2],
            seeds=[0],
            protocol=own_rate(lr="own"),
            precision="fp32",
        )


# ---- which cells ----


def test_a_set_fills_the_cells_of_its_ipc_and_dataset(method_of):
    method = method_of(content(seeds=(0, 1, 2)))
    cells = specs(method, source("other", shape=(1, 8, 8)), source(), ipcs=(1, 2, 10), seeds=(2, 0))
    assert [(cell.dataset, cell.ipc, cell.seed) for cell in cells] == [("tiny", 2, 2), ("tiny", 2, 0)]


def test_the_name_is_made_from_the_file(method_of):
    method = method_of(content(), "res DM.kr=1 (CIFAR).npz")
    assert method.name == method.label == "set:res-DM-kr-1-CIFAR"
    assert method.citation.startswith("set:/")


def test_the_hash_of_a_cell_follows_the_content(method_of):
    given = content()
    first, second = method_of(given), method_of(given, "made.pt", write_condensation)
    assert first.code == second.code == given.digest
    assert specs(first)[0].hash == specs(second)[0].hash  # one set, whatever its form
    edited = replace(given.distillations[0], images=given.distillations[0].images + np.float32(1e-3))
    assert specs(method_of(replace(given, distillations=(edited,))))[0].hash != specs(first)[0].hash
    assert specs(first, mean="0,0", std="1,1")[0].hash != specs(first)[0].hash
    assert specs(first, dataset="tiny")[0].hash == specs(first)[0].hash  # decides no number


def test_a_dataset_is_named_where_several_fit(method_of):
    method = method_of(content())
    twins = source("mnist"), source("fashionmnist")
    with pytest.raises(UsageError, match=re.escape("may be of mnist, fashionmnist; valid: --set set:made.dataset=NAME")):
        specs(method, *twins)
    assert [cell.dataset for cell in specs(method, *twins, dataset="fashionmnist")] == ["fashionmnist"]
    named = method_of(content(dataset="mnist"))
    assert [cell.dataset for cell in specs(named, *twins)] == ["mnist"]


MISTAKES = {
    "shape": (
        {},
        {"sources": [source(shape=(1, 8, 8))]},
        {},
        "its images are 2x8x8 (channels, height, width), those of 'tiny' 1x8x8",
    ),
    "classes": ({}, {"sources": [source(classes=tuple("abcd"))]}, {}, "its labels are of 3 classes, 'tiny' has 4"),
    "dataset": ({"dataset": "mnist"}, {}, {}, "it was distilled from 'mnist', not 'tiny'"),
    "ipc": ({}, {"ipcs": (1, 10)}, {}, "--ipc 1,10: 'set:PATH' has 2 images a class; valid: --ipc 2"),
    "seed": (
        {"seeds": (0, 2)},
        {"seeds": (0, 1, 2)},
        {},
        "--seeds: 'set:PATH' has no distillation of seed 1; valid: --seeds 0,2",
    ),
    "unknown units": (
        {"mean": (), "std": ()},
        {},
        {},
        "--methods 'set:PATH': its images are floats, and nothing says how they were normalised; valid: --set set:made.mean=",
    ),
    "mean alone": ({}, {}, {"mean": "0,0"}, "--set set:made.mean: one without the other; valid: both mean and std"),
    "channels": ({}, {}, {"mean": "0", "std": "1"}, "--set set:made.mean=0: 1 values; valid: 2, one for each channel"),
    "deviation": ({}, {}, {"mean": "0,0", "std": "1,0"}, "--set set:made.std=1,0; valid: numbers above 0"),
    "no number": (
        {},
        {},
        {"mean": "0,x", "std": "1,1"},
        "--set set:made.mean=0,x: valid: a number for each channel, with commas between",
    ),
    "no setting": ({}, {}, {"maen": "0,0"}, "unknown parameter of set:made 'maen' (did you mean 'mean'?)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_set_that_cannot_be_evaluated_is_refused(method_of, name):
    said, grid, texts, message = MISTAKES[name]
    method = method_of(content(**said))
    with pytest.raises(UsageError) as caught:
        specs(method, *grid.get("sources", ()), **{key: grid[key] for key in grid if key != "sources"}, **texts)
    assert message in str(caught.value).replace(method.citation, "set:PATH")


def test_pixels_take_no_normalisation(method_of):
    pixels = np.zeros((3, 2, 8, 8), np.uint8)
    method = method_of(DistilledSet(distillations=(Distillation.of(0, pixels, np.arange(3)),)))
    with pytest.raises(UsageError, match="its images are pixels from 0 to 255; valid: no mean and no std"):
        specs(method, ipcs=(1,), mean="0,0", std="1,1")


def test_folders_of_other_names_are_refused(tmp_path, method_of):
    given = DistilledSet(distillations=(Distillation.of(0, np.zeros((3, 1, 8, 8), np.uint8), np.arange(3)),))
    method = method_of(given, "set", write_pictures)
    assert len(specs(method, source(shape=(1, 8, 8)), ipcs=(1,))) == 1
    for label, name in enumerate(("dark", "grey", "light")):
        (tmp_path / "set" / "seed-0" / str(label)).rename(tmp_path / "set" / "seed-0" / name)
    with pytest.raises(UsageError, match="its class folders light are neither numbered"):
        specs(find_method(f"set:{tmp_path / 'set'}"), source(shape=(1, 8, 8)), ipcs=(1,))


# ---- what is said ----


def test_a_file_of_the_family_takes_the_datasets_normalisation_and_says_so(tmp_path):
    one = content().distillations[0]
    torch.save({"data": [[torch.from_numpy(one.images), torch.from_numpy(one.labels)]]}, tmp_path / "res.pt")
    method = find_method(f"set:{tmp_path / 'res.pt'}")
    (warning,) = warnings_of(method)
    assert warning.startswith("'set:PATH': the file says no mean and deviation; those of the dataset are taken")
    assert "--set set:res.mean=" in warning
    with pytest.warns(DataWarning):
        assert torch.equal(distilled(method).images, torch.from_numpy(one.images))
    assert warnings_of(method, mean="0.1,0", std="1,1") == []


def test_a_set_that_says_all_needs_no_warning(method_of):
    assert warnings_of(method_of(content(dataset="tiny"))) == []


def test_other_names_of_classes_are_said(method_of):
    (warning,) = warnings_of(method_of(content(classes=("dark", "gray", "bright"))))
    assert "it calls a class 'gray' that 'tiny' calls 'grey'; labels are taken by number" in warning


def test_a_file_that_is_no_set_is_a_mistake_that_names_it(tmp_path):
    with pytest.raises(UsageError, match=r"^--methods 'set:.*none\.pt': there is no file or folder"):
        find_method(f"set:{tmp_path / 'none.pt'}")
    with pytest.raises(UsageError, match=r"valid: .*set:PATH"):
        find_method("sett")
