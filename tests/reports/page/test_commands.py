"""The command on a card means its cell: read by the command line, it gives the same hash."""

from __future__ import annotations

import shlex

import pytest
from made_records import evaluation, method_facts, record, with_checkpoints, with_spec

from bench.cells.grid import make_specs
from bench.command.command import parse
from bench.records.record import RunRecord
from bench.records.sections import MethodFacts, PreparedFor
from methods import METHODS
from reports.frames.results import Results
from reports.page.cards import decks
from reports.page.commands import command, spelling
from run_all import SUITE

LOSS = """
def my_loss(real, syn, *, generator, power: float = 2.0, name: str = "a b"):
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1)
"""


def specs_of(arguments):
    """Return the cells that a command line means, and its options."""
    options = parse(SUITE, arguments)
    return make_specs(
        methods=options.methods,
        sources=options.sources,
        ipcs=options.ipcs,
        seeds=options.seeds,
        protocol=options.protocol,
        precision="fp32" if options.precision == "auto" else options.precision,
    ), options


def stored(spec, **facts):
    """Return the record of a cell as it is read from disk."""
    method = METHODS.get(spec.method)
    made = RunRecord(
        hash=spec.hash,
        status="ok",
        spec=spec,
        method=method_facts(method) if method else MethodFacts(label=spec.method),
        dataset_label=spec.dataset,
        evaluations=(evaluation(),),
    )
    return RunRecord.model_validate_json(made.model_copy(update=facts).model_dump_json())


def again(made):
    """Return the cell that the command of a record means, and the options of that command."""
    python, script, *arguments = shlex.split(command(made))
    assert (python, script) == ("python", "run_all.py")
    (spec,), options = specs_of(arguments)
    return spec, options


def test_the_command_names_a_folder_as_it_was_typed(tmp_path):
    (spec,), _ = specs_of(["--methods", "random", "--datasets", "digits", "--ipc", "1"])
    spec = spec.model_copy(update={"dataset": "folder:0123456789ab"})
    made = stored(spec, details={"dataset": "folder:some where/pets"})
    assert "--datasets 'folder:some where/pets' --ipc 1" in command(made)


@pytest.mark.parametrize("profile", ["quick", "cpu", "paper"])
@pytest.mark.parametrize("method", METHODS)
def test_the_command_of_every_method_under_every_profile_gives_its_hash(method, profile):
    specs, _ = specs_of(
        ["--methods", method, "--datasets", "digits,cifar10", "--ipc", "1,10", "--seeds", "3", "--profile", profile]
    )
    assert specs
    for spec in specs:
        arguments = shlex.split(command(stored(spec)))
        assert not {"=None", "=True", "=False"} & {argument[argument.find("=") :] for argument in arguments}
        made, _ = again(stored(spec))
        assert made.hash == spec.hash
        assert made == spec.model_copy(update={"settings": made.settings})


SETTINGS = {
    "the method's own": ["kr.hidden=256", "kr.critic_lr=1e-05"],
    "a rate of one loss": ["kr.rate=0.2"],
    "a common rate": ["match.rate=0.01", "match.iterations=7"],
    "the other optimizer": ["match.optimizer=sgd", "match.schedule=constant"],
    "its learning rate": ["match.optimizer=sgd", "match.lr_images=30"],
    "networks": ["eval.networks=mlp,convnet-bn", "match.network=convnet-d2", "network.width=64"],
    "data": ["data.split=validation", "data.holdout=0.25"],
    "precisions apart from the run's": ["eval.precision=bf16", "kr.precision=bf16"],
    "no augmentation": ["match.augment=none", "eval.augment=flip", "match.start=noise"],
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("profile", ["quick", "cpu"])
def test_the_command_names_what_was_set(name, profile):
    arguments = ["--methods", "kr", "--ipc", "10", "--seeds", "0", "--profile", profile, "--precision", "fp32"]
    (spec,), _ = specs_of([*arguments, *(argument for pair in SETTINGS[name] for argument in ("--set", pair))])
    made, options = again(stored(spec))
    assert made.hash == spec.hash
    assert made.networks == spec.networks
    assert options.precision == "fp32"


def test_the_run_of_a_cell_comes_along():
    (spec,), _ = specs_of(["--methods", "dm", "--ipc", "1"])
    machine = {"hardware": {"device": "cpu", "threads": 3}}
    _, options = again(with_checkpoints(stored(spec, **machine), {0: (1.0,), 25: (2.0,)}))
    assert (options.checkpoints, options.threads, options.device) == ((0, 25), 3, "cpu")
    _, options = again(stored(spec, hardware={"device": "cuda", "threads": 3}))
    assert (options.threads, options.device) == (None, "cuda")
    shared = command(stored(spec, hardware={"device": "cpu", "threads": 3, "ranks": 2}))
    assert shared.startswith("torchrun --standalone --nproc-per-node 2 run_all.py --methods dm ")


def test_a_users_loss_is_named_by_its_path_and_the_card_says_that_it_is_needed(tmp_path):
    path = tmp_path / "o'dd $(name) 1" / "loss.py"
    path.parent.mkdir()
    path.write_text(LOSS)
    typed = f"{path}:my_loss"
    (spec,), options = specs_of(["--methods", typed, "--ipc", "1", "--set", "my_loss.power=3", "--set", "my_loss.name=x $HOME"])
    made = stored(spec, method=method_facts(options.methods[0][0]))
    assert again(made)[0].hash == spec.hash
    assert spelling(made) == typed
    (card,) = decks(Results.of([made]), {made.hash: tmp_path}, tmp_path)[0].cards
    warning, *_ = card.warnings
    assert typed in warning
    assert spec.code in warning
    assert spelling(stored(specs_of(["--methods", "dm", "--ipc", "1"])[0][0])) == "dm"


SPELLINGS = {
    "as the record says": (MethodFacts(label="A", citation="Somebody 2025", spelling="set:some where/a_set.pt"), "1234"),
    "of an old record with a file of the user's": (MethodFacts(label="A", citation="set:some where/a_set.pt"), "1234"),
}


@pytest.mark.parametrize(("facts", "code"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_released_set_is_named_by_its_path(facts, code):
    made = with_spec(record("a_set"), code=code).model_copy(update={"method": facts})
    assert shlex.split(command(made))[3] == "set:some where/a_set.pt"


@pytest.mark.parametrize("citation", ["set:PATH and file.py:a_set were read", "file.py:a_set"])
def test_a_citation_is_prose_and_names_nothing(citation):
    made = record("a_set").model_copy(update={"method": MethodFacts(label="A", citation=citation)})
    assert shlex.split(command(made))[3] == "a_set"


def test_what_keeps_a_command_from_making_the_same_cell_is_said(tmp_path):
    records = [with_spec(made, data="1234") for made in (record("kr", rate=0.05), record("emd", rate=0.05))]
    other = with_spec(record("kr", rate=0.1), data="1234")
    other = other.model_copy(update={"failed_evaluations": {"mlp": "out\nof memory"}, "warnings": ("images\ndiverged",)})
    old = with_spec(record("dm"), numerics=0)
    records += [other, old]
    folders = {made.hash: tmp_path for made in records}
    cards = {card.hash: card for deck in decks(Results.of(records), folders, tmp_path) for card in deck.cards}
    assert set(cards) == set(folders)
    assert cards[records[0].hash].warnings == ()
    assert cards[other.hash].warnings == (
        "Tables leave it out: it differs from others in the rate of a step alone.",
        "images diverged",
        "The evaluation by mlp failed: out of memory",
    )
    assert "numerics 0" in cards[old.hash].warnings[0]
    assert "does not say which images" in cards[old.hash].warnings[1]


def test_a_card_says_how_the_cell_was_made(tmp_path):
    networks = (evaluation("convnet", (70.0, 71.0)), evaluation("mlp", (50.0,)))
    made = with_checkpoints(record("kr", settings={"hidden": 3}, evaluations=networks), {2: (40.0,)})
    made = made.model_copy(update={"versions": {"torch": "2.9"}, "code": {"commit": "abc"}})
    folder = tmp_path / "a #b" / "records"
    folder.mkdir(parents=True)
    for name in (made.images_name, made.images_name_at(2)):
        (folder / name).touch()
    (deck,) = decks(Results.of([made]), {made.hash: folder}, tmp_path / "report")
    (card,) = deck.cards
    assert (deck.title, card.title, card.score) == ("fashionmnist, IPC 1", "KR, seed 0", "70.5 %")
    facts = dict(card.facts)
    assert facts["accuracy, ConvNet-3"] == "70.00, 71.00 % (2.0 s)"
    assert facts["accuracy, MLP"] == "50.00 % (2.0 s)"
    assert facts["kr."] == "hidden=3"
    assert "iterations=10" in facts["match."]
    assert facts["seconds"].startswith("features 1.00, loss 1.00, update 1.00, evaluation 4.00, in all 7.00")
    assert (facts["hardware"], facts["versions"], facts["code"]) == (
        "cpu=a processor, threads=2, device=cpu",
        "torch=2.9",
        "commit=abc",
    )
    assert not {"preparation", "learning rate of the set"} & set(facts)
    assert card.record == f"../a%20%23b/records/{made.hash}.json"
    assert card.images == (
        (f"../a%20%23b/records/{made.hash}-2.safetensors", "iteration 2"),
        (f"../a%20%23b/records/{made.hash}.safetensors", "the end"),
    )


def test_a_card_names_every_metric_what_was_prepared_and_the_learning_rate_of_the_set(tmp_path):
    measured = evaluation().model_copy(update={"metrics": {"worst_class_accuracy": (40.0, 41.25)}})
    prepared = {
        "1": PreparedFor(kind="networks", label="networks of mnist", seconds=12.5, made=True),
        "2": PreparedFor(kind="trajectories", label="trajectories of mnist", seconds=100.0, made=False),
    }
    made = record(evaluations=(measured,)).model_copy(update={"preparation": prepared, "lr": 0.01234567})
    (card,) = decks(Results.of([made]), {made.hash: tmp_path}, tmp_path)[0].cards
    facts = dict(card.facts)
    assert facts["worst class accuracy, ConvNet-3"] == "40.00, 41.25"
    assert facts["preparation"] == (
        "112.50 s in all: networks of mnist 12.50, made by this cell; trajectories of mnist 100.00, made for another cell"
    )
    assert facts["learning rate of the set"] == "0.0123457"
