"""What lies beside a user's loss: what it imports from there and reads there is its own, and enters its hash."""

import hashlib
import os
import sys

import numpy as np
import pytest
import torch
from tiny_cells import distilled, task_of

from bench.errors import UsageError
from bench.running import snapshot
from methods import find_method
from methods.outside.beside import code_of

pytestmark = pytest.mark.filterwarnings("ignore::bench.files.DataWarning")

# ---- the hash of a loss: its file, and what it imports from beside it ----

BESIDE = {
    "helper.py": "import deeper\nFACTOR = 2\n",
    "deeper.py": "VALUE = 1\n",
    "pack/__init__.py": "from .inner import VALUE\n",
    "pack/inner.py": "VALUE = 1\n",
    "pack/other.py": "VALUE = 1\n",
    "space/part.py": "VALUE = 1\n",
    "unused.py": "VALUE = 1\n",
    "notes.txt": "no code",
}
"""The files beside a user's loss. `space` is a package without `__init__.py`."""


@pytest.fixture
def folder(tmp_path):
    for name, content in BESIDE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import helper", {"helper.py", "deeper.py"}),
        ("from helper import FACTOR", {"helper.py", "deeper.py"}),
        ("import deeper as d, math", {"deeper.py"}),
        ("def f():\n    import deeper", {"deeper.py"}),
        ("import pack", {"pack/__init__.py", "pack/inner.py"}),
        ("import pack.other", {"pack/__init__.py", "pack/inner.py", "pack/other.py"}),
        ("from pack import other", {"pack/__init__.py", "pack/inner.py", "pack/other.py"}),
        ("from pack import *", {"pack/__init__.py", "pack/inner.py", "pack/other.py"}),
        ("from space import part", {"space/part.py"}),
        ("from space.part import VALUE", {"space/part.py"}),
        ("import torch, math", set()),
    ],
)
def test_the_hash_follows_what_a_loss_imports_from_beside_it_and_nothing_else(folder, source, imported):
    path = folder / "my_loss.py"
    path.write_text(source + "\n")
    first = code_of(path)
    changed = set()
    for name, content in BESIDE.items():
        (folder / name).write_text(content + "# edited\n")
        if code_of(path) != first:
            changed.add(name)
        (folder / name).write_text(content)
    assert changed == imported
    assert code_of(path) == first


def test_a_relative_import_inside_a_package_is_followed_upwards(folder):
    (folder / "pack/deep").mkdir()
    (folder / "pack/deep/__init__.py").write_text("from ..other import VALUE\nfrom .. import inner\n")
    path = folder / "my_loss.py"
    path.write_text("import pack.deep\n")
    first = code_of(path)
    (folder / "pack/other.py").write_text("VALUE = 2\n")
    assert code_of(path) != first


def test_files_that_import_one_another_and_files_that_are_no_python_are_hashed(folder):
    (folder / "deeper.py").write_text("import helper\n")
    (folder / "pack/inner.py").write_text("def (:\n")
    path = folder / "my_loss.py"
    path.write_text("import helper, pack, my_loss\n")
    first = code_of(path)
    (folder / "pack/inner.py").write_text("def ((:\n")
    assert code_of(path) != first


def test_hashing_runs_nothing(folder, tmp_path):
    (folder / "helper.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (folder / "my_loss.py").write_text("import helper\n")
    code_of(folder / "my_loss.py")
    assert not (tmp_path / "ran").exists()


def test_a_folder_named_as_a_part_of_the_suite_is_not_hashed(folder):
    # `import bench` is the suite's, whatever lies beside the file; its code is recorded apart.
    path = folder / "my_loss.py"
    path.write_text("from bench.cells.settings import Positive\n")
    first = code_of(path)
    (folder / "bench/cells").mkdir(parents=True)
    (folder / "bench/cells/settings.py").write_text("Positive = 1\n")
    assert code_of(path) == first


def test_a_fifo_beside_a_loss_is_not_opened(folder):
    (folder / "helper.py").unlink()
    os.mkfifo(folder / "helper.py")
    (folder / "my_loss.py").write_text("import helper\n")
    assert code_of(folder / "my_loss.py") == hashlib.sha256(b"import helper\n").hexdigest()[:16]


def test_the_code_of_a_method_is_that_of_all_its_files(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    path = folder / "my_loss.py"
    path.write_text("import helper\ndef mine(real, syn, *, generator):\n"
                    "    return helper.FACTOR * (real.mean(1) - syn.mean(1)).square().sum(1)\n")  # fmt: skip
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    first = find_method(f"{path}:mine").code
    (folder / "deeper.py").write_text("VALUE = 3\n")
    assert find_method(f"{path}:mine").code != first


# ---- imports from beside a loss ----

LOSS = """
def mine(real, syn, *, generator):
    return FACTOR * (real.mean(1) - syn.mean(1)).square().sum(1)
"""


def value_of(method):
    """Return what a loss makes of a distance of 1."""
    with method.file.first():
        return method.objective()(torch.ones(2, 5, 1), torch.zeros(2, 3, 1), generator=None).tolist()


def written(folder, **files):
    """Write files into a new folder; `pack__inner` is `pack/inner.py`. Return the folder."""
    for name, content in files.items():
        path = folder / f"{name if '/' in name else name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.mark.parametrize(
    "source",
    [
        "from helper import FACTOR\n" + LOSS,
        "from .helper import FACTOR\n" + LOSS,
        "from . import helper\nFACTOR = helper.FACTOR\n" + LOSS,
        "from pack.inner import FACTOR\n" + LOSS,
        "from .pack import FACTOR\n" + LOSS,
        "import importlib\nFACTOR = importlib.import_module('helper').FACTOR\n" + LOSS,
        "import importlib\nFACTOR = importlib.import_module('.helper', __package__).FACTOR\n" + LOSS,
        LOSS.replace("    return", "    from helper import FACTOR\n    return"),
        LOSS.replace("    return", "    from .pack.inner import FACTOR\n    return"),
        "from helper import mine\n",
    ],
)
def test_a_loss_imports_what_lies_beside_it_from_any_working_directory(source, tmp_path, monkeypatch):
    files = {"helper": "from deeper import FACTOR\n" + LOSS, "deeper": "FACTOR = 3\n"}
    files |= {"pack/__init__": "from pack.inner import FACTOR\n" if "from pack" in source else "from .inner import FACTOR\n"}
    folder = written(tmp_path / "loss", my_loss=source, pack__inner="FACTOR = 3\n", **files)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = set(sys.path)
    for path in (str(folder / "my_loss.py"), "../loss/my_loss.py"):
        method = find_method(f"{path}:mine")
        assert value_of(method) == [3, 3]
        assert distilled(method, task_of(method)).trace.loss  # the cell's calls import, too
    assert set(sys.path) == before
    assert not {"helper", "deeper", "pack"} & sys.modules.keys()


def test_a_file_in_a_package_has_what_the_package_defines(tmp_path):
    files = {"loss/__init__": "FACTOR = 5\n", "loss/my_loss": "from . import FACTOR\n" + LOSS}
    written(tmp_path, **files)
    method = find_method(f"{tmp_path}/loss/my_loss.py:mine")
    assert value_of(method) == [5, 5]
    written(tmp_path, **{"loss/__init__": "FACTOR = 6\n"})
    other = find_method(f"{tmp_path}/loss/my_loss.py:mine")
    assert (value_of(other), other.code == method.code) == ([6, 6], False)
    assert not list(tmp_path.rglob("*.pyc"))  # they would hide a change within the same second


def test_of_two_losses_each_has_the_helper_beside_it(tmp_path):
    source = LOSS.replace("    return", "    from helper import FACTOR\n    return")
    methods = []
    for factor in (2, 3):
        folder = written(tmp_path / str(factor), my_loss=source, helper=f"FACTOR = {factor}\n")
        methods.append(find_method(f"{folder}/my_loss.py:mine"))
    for _ in range(2):
        assert [value_of(method) for method in methods] == [[2, 2], [3, 3]]
    assert methods[0].code != methods[1].code


@pytest.mark.parametrize("name", ["statistics", "random", "utils", "sklearn", "ot"])
def test_a_helper_named_like_a_library_is_the_loss_s_own_and_the_library_stays(name, tmp_path):
    library = sys.modules.get(name)
    folder = written(tmp_path, my_loss=f"from {name} import FACTOR\n" + LOSS, **{name: "FACTOR = 4\n"})
    assert value_of(find_method(f"{folder}/my_loss.py:mine")) == [4, 4]
    assert sys.modules.get(name) is library


def test_a_script_beside_a_loss_that_it_does_not_import_is_not_run(tmp_path):
    folder = written(tmp_path, my_loss="import wave, colorsys\nFACTOR = 1\n" + LOSS, train="1 / 0\n", calendar="1 / 0\n")
    sys.modules.pop("calendar", None)
    method = find_method(f"{folder}/my_loss.py:mine")
    assert (value_of(method), method.files) == ([1, 1], (folder / "my_loss.py",))


# ---- data beside a loss ----

READING = (
    "import numpy as np\nfrom pathlib import Path\nFACTOR = float(np.load(Path(__file__).parent / 'data' / 'factor.npy'))\n"
)
READERS = {
    "when loaded": READING + LOSS,
    "in a helper": "from helper import FACTOR\n" + LOSS,
    "at the first call": "import json, os\n"
    + LOSS.replace(
        "    return", "    FACTOR = json.load(open(os.path.join(os.path.dirname(__file__), 'data', 'factor.json')))\n    return"
    ),
    "by torch": "import torch\nFACTOR = torch.load(__file__.replace('my_loss.py', 'data/factor.pt')).item()\n" + LOSS,
}


def write_factor(folder, factor):
    (folder / "data").mkdir(exist_ok=True)
    np.save(folder / "data/factor.npy", float(factor))
    torch.save(torch.tensor(float(factor)), folder / "data/factor.pt")
    (folder / "data/factor.json").write_text(str(factor))


@pytest.mark.parametrize("when", READERS)
def test_data_that_a_loss_reads_from_beside_it_enter_its_hash_and_are_copied_with_it(when, tmp_path):
    folder = written(tmp_path / "loss", my_loss=READERS[when], helper=READING)
    write_factor(folder, 2)
    method = find_method(f"{folder}/my_loss.py:mine")
    assert value_of(method) == [2, 2]
    assert len([file for file in method.files if file.parent == folder / "data"]) == 1
    assert method.code != code_of(folder / "my_loss.py")
    copied = snapshot._copy(method, tmp_path, "own/0")
    (tmp_path / "own").rename(tmp_path / "worker")  # a worker has no other files
    folder.rename(tmp_path / "gone")
    again = find_method(f"{tmp_path / 'worker' / copied.relative_to(tmp_path / 'own')}:mine")
    assert (again.code, value_of(again)) == (method.code, [2, 2])
    write_factor(tmp_path / "gone", 3)
    assert find_method(f"{tmp_path}/gone/my_loss.py:mine").code != method.code


def test_a_file_that_a_loss_writes_is_no_part_of_it(tmp_path):
    log = "    open(__file__ + '.log', 'a').write('called')\n    return"
    folder = written(tmp_path, my_loss="FACTOR = 1\n" + LOSS.replace("    return", log))
    assert {find_method(f"{folder}/my_loss.py:mine").code for _ in range(2)} == {code_of(folder / "my_loss.py")}


def test_data_named_relative_to_the_working_directory_are_refused_elsewhere_with_what_to_write(tmp_path, monkeypatch):
    folder = written(tmp_path / "loss", my_loss="import numpy as np\nFACTOR = float(np.load('data/factor.npy'))\n" + LOSS)
    write_factor(folder, 2)
    monkeypatch.chdir(folder)
    assert value_of(find_method("my_loss.py:mine")) == [2, 2]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"valid: pathlib\.Path\(__file__\)\.parent / 'data/factor\.npy'"):
        find_method("loss/my_loss.py:mine")
