"""Several processes on one folder, a full disk, a closed output, and data that are not what they were."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from outputs import read_csv, read_records
from test_cli_datasets import write_idx

ROOT = Path(__file__).resolve().parents[3]


def test_two_processes_share_a_grid_and_run_no_cell_twice(start, command, tiny, tmp_path):
    arguments = ["run_all.py", *tiny, "--methods", "random,dm,emd", "--ipc", "1,2", "--seeds", "0,1"]
    pair = [start(*arguments, "--out", tmp_path / "shared") for _ in range(2)]
    ends = [(*process.communicate(timeout=300), process.returncode) for process in pair]
    assert [status for *_, status in ends] == [0, 0], ends
    ran = [
        line.split("] ")[1].removesuffix(": started") for _, err, _ in ends for line in err.splitlines() if "started" in line
    ]
    records = read_records(tmp_path / "shared")
    assert len(records) == 12
    status, *_ = command(*arguments, "--out", tmp_path / "alone")
    assert status == 0
    names = ("dataset", "ipc", "method", "seed", "network", "accuracy")
    shared, alone = (
        [[row[name] for name in names] for row in read_csv(tmp_path / out / "report" / "accuracy.csv")]
        for out in ("shared", "alone")
    )
    assert shared == alone
    labels = {f"digits ipc {r['spec']['ipc']} {r['spec']['method']} seed {r['spec']['seed']}" for r in records}
    assert sorted(ran) == sorted(labels)  # each by one of the two
    for stdout, stderr, _ in ends:
        own, other = stderr.count(": started\n"), stderr.count(": run by another process: ")
        assert stdout.startswith(f"{own} cells run, {12 - own - other} there before, ")
        assert (f" before, {other} run by another process, 0 failed" in stdout) == (other > 0)


def test_leftovers_of_a_killed_run_are_removed_by_the_next(main, tiny, tmp_path):
    arguments = [*tiny, "--methods", "random", "--ipc", "1", "--out", tmp_path / "out"]
    assert main(*arguments)[0] == 0
    (record,) = read_records(tmp_path / "out")
    leftover = tmp_path / "out" / "records" / f".{record['hash']}.json.abc.part"
    leftover.touch()
    assert main(*arguments)[0] == 0
    assert not leftover.exists()


def test_a_full_disk_is_one_clear_line_and_the_same_command_finishes_later(main, command, tiny, tmp_path):
    """No file may grow above 4 KiB: the images of a cell do not fit."""
    arguments = [*tiny, "--methods", "random,dm", "--ipc", "2", "--out", tmp_path / "out"]
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); import run_all, bench.machine.compute; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); sys.exit(run_all.main(sys.argv[1:]))"
    )
    status, _, stderr = command("-c", limited, *arguments)
    assert status == 1
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("run_all.py: error: cannot write to ")
    assert "the same command goes on from there" in last
    assert [path.name for path in (tmp_path / "out" / "records").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert main(*arguments)[0] == 0
    assert len(read_records(tmp_path / "out")) == 2


def test_a_full_or_closed_standard_output_is_no_traceback(tmp_path):
    for shell in ('"$0" run_all.py --list > /dev/full', '"$0" run_all.py --list | true', '"$0" run_all.py --list >&-'):
        done = subprocess.run(["bash", "-c", shell, sys.executable], cwd=ROOT, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, shell
        assert "Exception ignored" not in done.stderr, shell


def test_ctrl_c_while_modules_are_imported_is_a_line(tmp_path):
    slow = tmp_path / "argparse.py"  # imported after the first lines of run_all.py
    slow.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(30)\n")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import runpy; "
    code += f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.modules.pop('argparse', None); "
    code += "runpy.run_path('run_all.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 130
    assert done.stderr == "run_all.py: interrupted by SIGINT before work started\n"


def test_other_images_under_the_same_name_are_another_cell(main, tiny, tmp_path):
    write_idx(tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "other")
    images = tmp_path / "other" / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    arguments = [*tiny, "--methods", "random", "--datasets", "mnist", "--ipc", "1", "--out", tmp_path / "out"]
    assert "1 cells run, 0 there before" in main(*arguments, "--data-root", tmp_path / "data")[1]
    assert "0 cells run, 1 there before" in main(*arguments, "--data-root", tmp_path / "data")[1]
    assert "1 cells run, 0 there before" in main(*arguments, "--data-root", tmp_path / "other")[1]
    records = read_records(tmp_path / "out")
    assert len({record["spec"]["data"] for record in records}) == 2


def test_a_plan_works_where_the_data_are_not_and_says_what_it_assumed(main, tiny, tmp_path):
    arguments = ["--methods", "random", "--datasets", "mnist,svhn", "--ipc", "1", "--data-root", tmp_path / "none"]
    status, stdout, stderr = main(*tiny, *arguments, "--out", tmp_path / "out", "--dry-run")
    assert status == 0
    assert stdout.count(" to run ") == 2
    lines = stderr.splitlines()
    assert f"dataset 'mnist' is not below {tmp_path / 'none'}: the published images are assumed" in lines
    assert any("'svhn'" in line and "not known before a run" in line for line in lines)
    assert not (tmp_path / "none").exists()
