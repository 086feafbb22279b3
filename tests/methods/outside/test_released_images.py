"""Entries of one file, mosaics, grey pictures saved as RGB, and pictures that are lossy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from released_sets import BUNDLE, content, distilled, source, specs, warnings_of
from runners import runner

from bench.cells.grid import make_specs
from bench.cells.task import Task
from bench.errors import UsageError
from bench.loops.images import normalise
from bench.machine.compute import Compute
from bench.seeding import Streams
from bench.sets import write_arrays
from bench.types import Bundle, Split
from methods import find_method
from methods.outside.imported import Released, cut
from reports.frames.results import Results
from reports.tables.table2 import table2_table


@pytest.fixture
def entries(tmp_path):
    """Return the method of a file with two entries that names no seeds, and its images."""
    images = [content(seeds=(seed,)).distillations[0].images for seed in range(2)]
    labels = np.arange(3).repeat(2)
    torch.save(
        {"data": [[torch.from_numpy(each), torch.from_numpy(labels)] for each in images], "mean": [0.5] * 2, "std": [0.2] * 2},
        tmp_path / "two.pt",
    )
    return find_method(f"set:{tmp_path / 'two.pt'}"), images


# ---- several entries ----


def test_several_entries_without_seeds_are_one_a_seed_with_a_warning(entries):
    method, _ = entries
    (warning,) = warnings_of(method)
    assert warning == (
        "'set:PATH': the file names no seeds and has 2 entries, which may be distillations or snapshots of one run: seed s "
        "takes entry s, from 0 (--set set:two.entry=last, or a number, takes that one for every seed)"
    )
    first, second = distilled(method, seed=0).images, distilled(method, seed=1).images
    assert not torch.equal(first, second)
    assert torch.equal(distilled(method, seed=7, entry="last").images, second)
    assert torch.equal(distilled(method, seed=1, entry="0").images, first)


def test_an_entry_is_a_part_of_the_hash_and_its_absence_is_not(entries):
    method, _ = entries
    (usual,), (last,), (first,) = specs(method), specs(method, entry="last"), specs(method, entry="0")
    assert len({usual.hash, last.hash, first.hash}) == 3
    assert set(usual.model_dump(mode="json")["settings"]) == {"mean", "std"}
    (warning,) = warnings_of(method, entry="last", seeds=(4, 5))
    assert "every seed takes entry 1 of 0 to 1, so ± is between networks trained on the same images" in warning


def test_entries_that_are_not_there_are_refused(entries):
    method, _ = entries
    with pytest.raises(UsageError, match=r"--set set:two\.entry=2: .* has 2 entries; valid: 0 to 1, or last"):
        specs(method, entry="2")
    with pytest.raises(UsageError, match=r"entry takes a whole number at least 0, or last, or none"):
        specs(method, entry="first")
    with pytest.raises(
        UsageError, match=r"no distillation of seed 2; valid: --seeds 0,1, or --set set:two\.entry=last for one"
    ):
        specs(method, seeds=(2,))


def test_a_file_that_names_its_seeds_is_not_warned_of(tmp_path):
    write_arrays(tmp_path / "made.npz", content(seeds=(0, 1), dataset="tiny"))
    assert warnings_of(find_method(f"set:{tmp_path / 'made.npz'}")) == []


@pytest.mark.filterwarnings("ignore::bench.files.DataWarning")
def test_the_record_and_the_table_say_what_was_taken(entries, tmp_path):
    method, _ = entries
    protocol = specs(method)[0].protocol
    protocol = protocol.changed(eval=protocol.eval.changed(nets=1, epochs=1), network=protocol.network.changed(width=8))
    settings = Released(entry="last", factor=2)
    grid = {"sources": [source()], "ipcs": [2], "seeds": [0], "protocol": protocol, "precision": "fp32"}
    (record,) = (
        done.record if hasattr(done, "record") else done
        for done in runner(tmp_path, data=BUNDLE, **{method.name: method}).run(make_specs(methods=[(method, settings)], **grid))
    )
    assert record.status == "ok", record.error
    assert record.spec.ipc == 2
    said = "; ".join(record.warnings)
    assert "every seed takes entry 1 of 0 to 1" in said
    assert "cut into 2 x 2, which are enlarged: networks are trained on 8 images a class" in said
    (note,) = table2_table(Results.of([record])).notes
    assert "8 images a class" in note


# ---- mosaics ----


def test_mosaics_are_cut_as_idc_cuts_them():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    tiles = cut(torch.cat([image, image + 100]), 2)
    assert tiles.shape == (8, 1, 4, 4)
    assert [tile.mean().item() for tile in tiles] == [2.5, 102.5, 4.5, 104.5, 10.5, 110.5, 12.5, 112.5]
    # Bilinear, with the ends of pixels and not their middles at the border: a quarter of the way between two pixels.
    assert torch.allclose(tiles[0, 0, 0], torch.tensor([0, 0.25, 0.75, 1.0]))
    assert cut(image, 1) is image


@pytest.mark.parametrize("soft", [False, True])
def test_each_picture_of_a_mosaic_has_its_label(tmp_path, soft):
    given = content(soft=soft)
    write_arrays(tmp_path / "made.npz", given)
    method = find_method(f"set:{tmp_path / 'made.npz'}")
    whole, syn = distilled(method), distilled(method, factor="2")
    assert syn.images.shape == (24, 2, 8, 8)
    assert torch.equal(syn.labels, torch.cat([whole.labels] * 4))
    assert torch.equal(syn.images, cut(whole.images, 2))
    assert specs(method, factor="2")[0].ipc == 2
    assert specs(method, factor="1")[0].hash == specs(method)[0].hash != specs(method, factor="2")[0].hash


@pytest.mark.parametrize("factor", ["3", "16"])
def test_a_factor_that_does_not_divide_is_refused(tmp_path, factor):
    write_arrays(tmp_path / "made.npz", content())
    with pytest.raises(UsageError, match=rf"--set set:made\.factor={factor}: images of 8x8 are not cut .*; valid: 1, 2, 4, 8$"):
        specs(find_method(f"set:{tmp_path / 'made.npz'}"), factor=factor)


# ---- pictures ----

LEVELS = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
SPLIT = Split(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.arange(3))
GREY = Bundle("tiny", SPLIT, SPLIT, ("dark", "grey", "bright"), (0.4,), (0.2,))


def saved(folder, *, mode: str, suffix: str = "png"):
    for name, levels in zip(GREY.classes, LEVELS, strict=True):
        (folder / name).mkdir(parents=True)
        PIL.Image.fromarray(levels).convert(mode).save(folder / name / f"a.{suffix}")
    return find_method(f"set:{folder}")


def trained_on(method):
    (spec,) = specs(method, source(shape=(1, 8, 8)), ipcs=(1,))
    task = Task(GREY, spec, Streams(0, "tiny", 1), Compute(torch.device("cpu"), "fp32", 1), lambda progress: None)
    syn = method.procedure(task)
    return syn.images[syn.labels.argsort()]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_grey_pictures_are_grey_however_they_were_saved(tmp_path, mode):
    images = trained_on(saved(tmp_path / "set", mode=mode))
    assert torch.equal(images, normalise(torch.from_numpy(LEVELS[:, None]), GREY))


def test_coloured_pictures_are_none_of_a_grey_dataset(tmp_path):
    method = saved(tmp_path / "set", mode="RGB")
    PIL.Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "set" / "dark" / "a.png")
    with pytest.raises(UsageError, match=r"its images are 3x8x8 \(channels, height, width\), those of 'tiny' 1x8x8"):
        trained_on(find_method(method.spelling))


def test_grey_floats_with_three_channels_are_grey(tmp_path):
    images = np.repeat(LEVELS[:, None] / np.float32(255), 3, 1)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(3), mean=np.zeros(3), std=np.ones(3))
    assert torch.allclose(
        trained_on(find_method(f"set:{tmp_path / 'set.npz'}")), normalise(torch.from_numpy(LEVELS[:, None]), GREY), atol=1e-6
    )


def test_lossy_pictures_are_said(tmp_path):
    method = saved(tmp_path / "set", mode="L", suffix="jpg")
    with pytest.warns(match="its pictures are JPEG, which is lossy"):
        trained_on(method)


def test_a_grey_set_keeps_its_hash_in_another_form(tmp_path):
    method = saved(tmp_path / "set", mode="L")
    assert method.content.digest == replace(method.content, remarks=("said",)).digest
