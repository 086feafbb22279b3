"""Cells with a record are not run again; those that failed or were interrupted are."""

import errno
import json
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from outputs import cell_lines, read_csv, read_records

from bench.records.storage import signed


@pytest.fixture(scope="module")
def finished(tiny_run):
    """Return a run of `random` and `dm`; tests work on copies."""
    out, status, _, stderr = tiny_run("random and dm", "--methods", "random,dm", "--ipc", "1")
    assert status == 0, stderr
    return out


@pytest.fixture
def again(finished, main, tiny, tmp_path, tree):
    """Return a copy of that run, and a function that gives the same command again."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)  # with the times of its files

    def call(*more, report="none"):
        arguments = [*tiny, "--methods", "random,dm", "--ipc", "1", "--out", out]
        status, stdout, stderr = main(*arguments, *more, report=report)
        return status, stdout, stderr, tree(out / "records")

    original = finished / "records"
    return SimpleNamespace(out=out, records=out / "records", original=original, before=tree(out / "records"), run=call)


def of_method(folder, method):
    """Return the record of a method: its file and its content."""
    files = [(path, json.loads(path.read_text())) for path in folder.glob("*.json")]
    ((path, record),) = [(path, record) for path, record in files if record["spec"]["method"] == method]
    return path, record


def changed(before, after):
    """Return the stems of the files that were written again, or are new or gone."""
    return {Path(name).stem for name in {*before, *after} if before.get(name) != after.get(name)}


def results(folder):
    """Return the results of each cell, without times: those of another run differ."""
    return {
        record["hash"]: (
            record["status"],
            {evaluation["network"]: evaluation["accuracies"] for evaluation in record["evaluations"]},
            record["loss"],
        )
        for record in read_records(folder.parent)
    }


def test_a_second_run_runs_nothing(again):
    page = again.out / "report" / "index.html"
    page.unlink()
    status, _, stderr, after = again.run(report="all")
    assert status == 0
    assert after == again.before
    assert "started" not in stderr
    assert page.is_file()  # the report is made all the same


@pytest.mark.parametrize("method", ["random", "dm"])
def test_only_a_deleted_record_is_run_again(again, method):
    path, _ = of_method(again.records, method)
    earlier = results(again.records)
    path.unlink()
    status, _, _, after = again.run()
    assert status == 0
    assert changed(again.before, after) == {path.stem}
    assert results(again.records) == earlier  # the same seed, machine and threads: the same numbers


@pytest.fixture
def damaged(again):
    """Return a function that damages the record of `random` in one of several ways, and returns its path."""

    def damage(how):
        path, record = of_method(again.records, "random")
        content = path.read_text()
        del record["checksum"]
        forms = {
            "half": content[: len(content) // 2],
            "version 1": json.dumps({name: value for name, value in record.items() if name != "schema_version"}),
            "version 99": json.dumps(signed(record | {"schema_version": 99})),
            "another field": json.dumps(signed(record | {"colour": "red"})),
            "another type": json.dumps(signed(record | {"loss": "none"})),
            "another setting": json.dumps(signed(record | {"spec": record["spec"] | {"hyper": {}}})),
            "another accuracy": content.replace('"accuracies": [\n    ', '"accuracies": [\n    1'),
            "another hash": json.dumps(signed(record | {"hash": "0" * 16})),
            "no number": content.replace('"accuracies": [\n    ', '"accuracies": [\n    NaN,'),
            "no accuracies": json.dumps(signed(record | {"evaluations": [record["evaluations"][0] | {"accuracies": []}]})),
        }
        path.write_text(forms.get(how, how))
        return path

    return damage


DAMAGES = [
    *("", "{", "[]", "{}", "half", "version 1", "version 99", "another field", "another type", "another setting"),
    *("another accuracy", "another hash", "no number", "no accuracies"),
]


def lines_about(path, log):
    return [line for line in log.splitlines() if path.name in line]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_record_is_named_and_run_again(again, damaged, how):
    path = damaged(how)
    status, _, stderr, after = again.run()
    assert status == 0
    assert changed(again.before, after) == {path.stem}
    assert json.loads(path.read_text())["status"] == "ok"
    assert len(lines_about(path, stderr)) == 1  # a word of what is wrong, in one line
    assert "Traceback" not in stderr


def test_what_is_wrong_with_a_record_is_said(again, damaged):
    for how, reasons in {
        "version 1": ["version 1", "another version of this suite"],
        "version 99": ["version 99"],
        "another field": ["colour"],
        "another type": ["loss"],
        "another setting": ["spec", "hyper"],
        "half": ["json"],
        "another accuracy": ["checksum"],
        "another hash": ["its hash is not that of its description"],
        "no number": ["NaN"],
        "no accuracies": ["evaluations.0.accuracies"],
    }.items():
        shutil.rmtree(again.records)
        shutil.copytree(again.original, again.records)
        path = damaged(how)
        _, stdout, stderr, _ = again.run("--dry-run")
        (line,) = lines_about(path, stderr)
        for word in reasons:
            assert word.lower() in line.lower()
        assert "to run" in next(line for line in stdout.splitlines() if line.startswith(path.stem))


@pytest.mark.parametrize("how", DAMAGES)
def test_a_report_from_records_alone_names_those_it_leaves_out(again, damaged, main, tree, how):
    path = damaged(how)
    before = tree(again.records)
    status, _, stderr = main("--report-only", "--out", again.out, report="csv")
    assert status == 0
    assert len(lines_about(path, stderr)) == 1
    assert tree(again.records) == before
    assert {row["method"] for row in read_csv(again.out / "report" / "accuracy.csv")} == {"dm"}


@pytest.mark.parametrize("how", ["half", "version 1"])
def test_a_record_of_another_grid_that_cannot_be_read_is_named_too(again, damaged, how):
    path = damaged(how)
    other = path.rename(path.with_stem("0123456789abcdef"))
    status, _, stderr, after = again.run()
    assert status == 0
    assert len(lines_about(other, stderr)) == 1
    assert other.name in after  # it is left as it is
    assert "started" in stderr  # and the cell is run


def test_where_no_record_can_be_read_the_report_says_why(again, main):
    for path in again.records.glob("*.json"):
        path.write_text("{}")
    status, _, stderr = main("--report-only", "--out", again.out)
    assert status == 2
    for path in again.records.glob("*.json"):
        assert path.name in stderr
    assert "Traceback" not in stderr


def test_force_runs_everything_again(again):
    earlier = results(again.records)
    status, _, _, after = again.run("--force")
    assert status == 0
    assert {name for name in after if after[name][0] == again.before[name][0]} == set()
    assert results(again.records) == earlier


@pytest.mark.parametrize(
    "options",
    [["--precision", "fp32"], ["--precision", "fp32", "--set", "eval.precision=fp32"], ["--set", "eval.precision=fp32"]],
)
def test_one_precision_is_one_cell_however_it_is_named(again, options):
    status, stdout, _, _ = again.run("--dry-run", *options)  # the profile quick runs in float32
    assert status == 0
    assert ["there" in line for line in cell_lines(stdout)] == [True, True]


def test_another_precision_is_another_cell(again):
    _, stdout, _, _ = again.run("--dry-run", "--set", "eval.precision=bf16")
    assert ["there" in line for line in cell_lines(stdout)] == [False, False]


def test_a_record_without_its_images_is_run_again(again):
    path, _ = of_method(again.records, "dm")
    path.with_suffix(".safetensors").unlink()
    earlier = results(again.records)
    status, _, _, after = again.run()
    assert status == 0
    assert changed(again.before, after) == {path.stem}
    assert results(again.records) == earlier


def test_more_seeds_run_only_the_new_cells(again):
    status, _, _, after = again.run("--seeds", "0,1")
    assert status == 0
    assert {name: after[name] for name in again.before} == again.before
    assert len(results(again.records)) == 4


def test_another_hyper_parameter_is_another_record_beside_the_first(again):
    status, _, _, after = again.run("--set", "dm.rate=0.3")
    assert status == 0
    assert {name: after[name] for name in again.before} == again.before
    assert len(results(again.records)) == 3


@pytest.mark.parametrize("end", [".json", ".resume", ".safetensors", "-5.safetensors"])
def test_a_folder_in_the_place_of_a_cells_file_is_named_before_work_starts(again, end):
    path, _ = of_method(again.records, "random")
    folder = again.records / f"{path.stem}{end}"
    folder.unlink(missing_ok=True)
    folder.mkdir()
    status, _, stderr, _ = again.run("--force")
    assert status == 2
    assert stderr.splitlines()[-1].startswith(f"run_all.py: error: {folder} is a folder in the place of a file of this run")
    assert "Traceback" not in stderr
    assert "started" not in stderr
    assert again.run("--dry-run")[0] == 0


def test_a_file_in_the_place_of_the_locks_is_named_before_work_starts(again):
    locks = again.records / ".locks"
    shutil.rmtree(locks)
    locks.touch()
    status, _, stderr, _ = again.run("--force")
    assert status == 2
    assert "cannot be written to" in stderr.splitlines()[-1]
    assert str(locks) in stderr.splitlines()[-1]
    assert "Traceback" not in stderr


def test_a_folder_called_as_a_leftover_is_named_and_cells_run_all_the_same(again):
    (again.records / ".x.part").mkdir()
    status, stdout, stderr, _ = again.run("--force")
    assert status == 1
    assert "2 cells run, 0 there before, 0 failed" in stdout
    assert str(again.records / ".x.part") in stderr
    assert "Traceback" not in stderr


def test_a_folder_that_is_made_unwritable_meanwhile_is_one_clear_line(again, monkeypatch):
    def refuse(**options):
        raise PermissionError(errno.EACCES, "Permission denied", str(options["dir"]))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    status, _, stderr, after = again.run("--force")
    assert status == 1
    assert stderr.splitlines()[-1].startswith(f"run_all.py: error: cannot write to {again.records}/")
    assert "Permission denied; what is finished is kept, and the same command goes on from there" in stderr
    assert "Traceback" not in stderr
    assert after == again.before


def test_records_of_two_folders_are_merged_by_copying(again, main, tiny, tmp_path):
    other = tmp_path / "other"
    assert main(*tiny, "--methods", "random,dm", "--ipc", "1", "--seeds", "1", "--out", other, report="none")[0] == 0
    files = [path for path in (other / "records").iterdir() if path.is_file()]
    for path in files:
        shutil.copy2(path, again.records)
    _, _, _, after = again.run("--seeds", "0,1", report="csv")
    assert changed(again.before, after) == {path.stem for path in files}
    lines = (again.out / "report" / "accuracy.csv").read_text().splitlines()
    assert len(lines) == 1 + 4


# ---- cells that fail ----


FAILING = """
from pathlib import Path

def picky(real, syn, *, generator):
    # The trial at the start has eight features; the network of the cell has more.
    if real.shape[-1] > 8 and Path({flag!r}).exists():
        raise RuntimeError("these features are too wide for me")
    return (real.mean(1) - syn.mean(1)).square().sum(1)
"""


@pytest.fixture
def picky(tmp_path):
    """Return a loss that fails in its cell as long as a flag is there."""
    flag = tmp_path / "flag"
    flag.touch()
    file = tmp_path / "picky.py"
    file.write_text(FAILING.format(flag=str(flag)))
    return SimpleNamespace(method=f"{file}:picky", flag=flag)


def test_a_failed_cell_is_recorded_the_others_go_on_and_it_is_tried_again(main, tiny, tmp_path, tree, picky):
    out = tmp_path / "out"
    arguments = [*tiny, "--methods", f"random,{picky.method},dm", "--ipc", "1", "--out", out]
    status, stdout, stderr = main(*arguments, report="csv")
    assert status == 1
    assert "Traceback" not in stderr
    assert "these features are too wide for me" in stdout + stderr
    path, record = of_method(out / "records", "picky")
    assert record["status"] == "failed"
    assert "RuntimeError" in record["error"]
    assert "these features are too wide for me" in record["error"]
    assert record["evaluations"] == []
    for method in ("random", "dm"):  # dm comes after it
        assert of_method(out / "records", method)[1]["status"] == "ok"
    assert {row.split(",")[2] for row in (out / "report" / "accuracy.csv").read_text().splitlines()[1:]} == {"random", "dm"}

    before = tree(out / "records")
    assert main(*arguments, report="none")[0] == 1  # it fails again, and is the only one that was tried
    again = tree(out / "records")
    assert changed(before, again) == {path.stem}

    picky.flag.unlink()
    status, _, stderr = main(*arguments, report="none")
    assert status == 0, stderr
    assert of_method(out / "records", "picky")[1]["status"] == "ok"
    assert changed(again, tree(out / "records")) == {path.stem}


def test_where_every_cell_fails_the_status_is_1_too(main, tiny, tmp_path, picky):
    out = tmp_path / "out"
    status, stdout, stderr = main(*tiny, "--methods", picky.method, "--ipc", "1", "--out", out)
    assert of_method(out / "records", "picky")[1]["status"] == "failed"
    assert "these features are too wide for me" in stdout + stderr
    assert status == 1


def test_a_loss_that_is_no_number_fails_its_cell(main, tiny, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "def nothing(real, syn, *, generator):\n"
        "    loss = (real.mean(1) - syn.mean(1)).square().sum(1)\n"
        "    return loss * float('nan') if real.shape[-1] > 8 else loss\n"
    )
    out = tmp_path / "out"
    status, _, _ = main(*tiny, "--methods", f"random,{file}:nothing", "--ipc", "1", "--out", out, report="none")
    assert status == 1
    _, record = of_method(out / "records", "nothing")
    assert record["status"] == "failed"
    assert "nan" in record["error"]


# ---- interruptions ----


WAITING = """
import time
from pathlib import Path

def slow(real, syn, *, generator):
    if real.shape[-1] > 8:
        Path({started!r}).touch()
        while Path({wait!r}).exists():
            time.sleep(0.02)
    return (real.mean(1) - syn.mean(1)).square().sum(1)
"""


def test_an_interrupted_run_exits_with_130_and_the_same_command_goes_on(start, main, tiny, tmp_path, tree):
    started, wait, out = tmp_path / "started", tmp_path / "wait", tmp_path / "out"
    wait.touch()
    file = tmp_path / "waiting.py"
    file.write_text(WAITING.format(started=str(started), wait=str(wait)))
    arguments = [*tiny, "--methods", f"random,{file}:slow,dm", "--ipc", "1", "--out", out]
    with start("run_all.py", *arguments) as process:
        try:
            end = time.monotonic() + 120
            while not started.exists() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            assert started.exists(), process.communicate()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "interrupted" in stderr
    before = tree(out)
    path, record = of_method(out / "records", "random")  # the only one
    assert record["status"] == "ok"
    assert {name for name in before if name.startswith("records")} == {
        f"records/{path.stem}{s}" for s in (".json", ".safetensors")
    }

    wait.unlink()
    status, _, stderr = main(*arguments, report="none")
    assert status == 0, stderr
    after = tree(out)
    kept = {name: entry for name, entry in before.items() if name.startswith("records")}
    assert {name: after[name] for name in kept} == kept
    assert {record["spec"]["method"] for record in read_records(out)} == {"random", "slow", "dm"}
    assert not [name for name in after if Path(name).name.startswith(".") or "tmp" in name]


def test_an_interruption_while_images_are_written_leaves_nothing(main, tiny, tmp_path, tree, monkeypatch):
    def half(self, content):
        self.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", half)
    status, _, stderr = main(*tiny, "--methods", "random", "--ipc", "1", "--out", tmp_path / "out")
    assert status == 130
    assert stderr.splitlines()[-1].startswith("run_all.py: interrupted")
    assert tree(tmp_path / "out") == {}


def test_an_interruption_while_a_record_is_written_leaves_no_record(main, tiny, tmp_path, tree, monkeypatch):
    replace = Path.replace

    def stop(self, target):
        if Path(target).suffix == ".json":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    status, _, _ = main(*tiny, "--methods", "random", "--ipc", "1", "--out", tmp_path / "out")
    assert status == 130
    # The images may be there, and are whole; without their record they are made again.
    assert [name for name in tree(tmp_path / "out") if not name.endswith(".safetensors")] == []
