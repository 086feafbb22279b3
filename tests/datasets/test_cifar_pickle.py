"""CIFAR's pickled batches. torchvision reads them too, so it is the oracle."""

import os
import pickle

import numpy as np
import pytest
import torchvision
from small_files import batch, both, check_bundle, write_cifar10, write_cifar100

from bench.errors import UsageError
from datasets import find_source
from datasets.cifar_pickle import _Array

CIFAR = {"cifar10": (write_cifar10, 53, 21), "cifar100": (write_cifar100, 230, 110)}


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_pickles_are_read_pixel_by_pixel(tmp_path, name):
    write, train, test = CIFAR[name]
    splits = both(name, train, test)
    write(tmp_path, splits)
    check_bundle(find_source(name).load(tmp_path), name, splits)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_pickles_are_read_as_torchvision_reads_them(tmp_path, name, monkeypatch):
    write, train, test = CIFAR[name]
    write(tmp_path, both(name, train, test))
    # These files are not the originals, so torchvision's check sums cannot match.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *arguments: True)
    bundle = find_source(name).load(tmp_path)
    for is_train, split in ((True, bundle.train), (False, bundle.test)):
        oracle = getattr(torchvision.datasets, name.upper())(str(tmp_path), train=is_train, download=False)
        assert np.array_equal(split.images.numpy().transpose(0, 2, 3, 1), oracle.data)
        assert split.labels.tolist() == oracle.targets


def test_cifar10_without_one_of_its_batches_is_not_there(tmp_path):
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(UsageError, match="cifar-10-batches-py"):
        find_source("cifar10").load(tmp_path)


def test_a_file_cut_short_is_named(tmp_path):
    # What an interrupted copy leaves.
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    file = tmp_path / "cifar-10-batches-py/data_batch_2"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UsageError) as caught:
        find_source("cifar10").load(tmp_path)
    assert file.name in str(caught.value)


# ---- files that somebody wrote anew ----


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("labels", [list, np.asarray], ids=["list", "array"])
def test_batches_pickled_by_python_3_are_read_pixel_by_pixel(tmp_path, protocol, labels):
    splits = both("cifar10", 53, 21)
    write_cifar10(tmp_path, splits)
    (images, train_labels), _ = splits
    part, part_labels = np.array_split(images, 5)[1], np.array_split(train_labels, 5)[1]
    content = pickle.dumps(batch(part, {"labels": labels(part_labels.tolist())}), protocol)
    (tmp_path / "cifar-10-batches-py/data_batch_2").write_bytes(content)
    check_bundle(find_source("cifar10").load(tmp_path), "cifar10", splits)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", "<i4", ">i8"])
def test_arrays_of_any_whole_numbers_and_either_order_are_read(tmp_path, order, dtype):
    splits = both("cifar10", 53, 21)
    write_cifar10(tmp_path, splits)
    content = batch(splits[1][0], {"labels": splits[1][1].tolist()})
    content["data"] = np.asarray(content["data"], dtype=dtype, order=order)
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps(content, 4))
    check_bundle(find_source("cifar10").load(tmp_path), "cifar10", splits)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((21, 3072), np.float32), r"pixels are of type float32, such as 0\.0; valid: whole numbers 0 to 255"),
        (np.full((21, 3072), 256), "a pixel has the value 256"),
        (np.zeros((3072, 21), np.uint8), r"images of shape \(3072, 21\); valid: \[images, 3072\]"),
        (np.zeros((20, 3072), np.uint8), "20 images and 21 labels"),
        (np.array([object()] * 3072), "damaged or of another format"),
    ],
)
def test_other_arrays_are_refused(tmp_path, value, message):
    splits = both("cifar10", 53, 21)
    write_cifar10(tmp_path, splits)
    file = tmp_path / "cifar-10-batches-py/test_batch"
    file.write_bytes(pickle.dumps({"data": value, "labels": splits[1][1].tolist()}, 4) if value.dtype != object else OBJECTS)
    with pytest.raises(UsageError, match=message) as caught:
        find_source("cifar10").load(tmp_path)
    assert str(file) in str(caught.value)


# ---- files that somebody forged ----


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def forged_array(dtype, flags):
    """Return a pickle of an array whose type says that it holds objects, and whose bytes are addresses of the forger's."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
        b"(I1\n(I1\ntcnumpy\ndtype\n(U" + bytes([len(dtype)]) + dtype.encode() + b"I0\nI1\ntR"
        b"(I3\nU\x01|NNNI-1\nI-1\nI" + str(flags).encode() + b"\ntbI00\nU\x08" + b"\x41" * 8 + b"tb."
    )


OBJECTS = b"(dU\x04data" + forged_array("O8", 63)[:-1] + b"sU\x06labels(lI1\nas."
COMMAND = "touch RAN"
PAYLOADS = {
    "a call of a shell": pickle.dumps(Call(os.system, COMMAND), 2),
    "a call of a shell, protocol 0": pickle.dumps(Call(os.system, COMMAND), 0),
    "a call of a shell, protocol 4": pickle.dumps(Call(os.system, COMMAND), 4),
    "inside a batch": pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [Call(os.system, COMMAND)]}, 2),
    "exec": pickle.dumps(Call(exec, "open('RAN', 'w').close()"), 2),
    "eval of Python 2's builtins": b'c__builtin__\neval\n(S\'open("RAN", "w").close()\'\ntR.',
    "by the opcode INST": b"(S'touch RAN'\nios\nsystem\n.",
    "by the opcode OBJ": b"(cos\nsystem\nS'touch RAN'\no.",
    "a class's `__new__`": b"\x80\x02csubprocess\nPopen\n(S'touch'\nS'RAN'\nt\x85\x81.",
    "by a dotted name below numpy": b"\x80\x04\x8c\x05numpy\x8c\x19lib._npyio_impl.os.system\x93\x8c\x09touch RAN\x85R.",
    "numpy's own exec": b'cnumpy.testing._private.utils\nrunstring\n(S\'open("RAN", "w").close()\'\n}tR.',
    "numpy's loader of pickles": b"cnumpy\nload\n(S'batch.npy'\nNI01\ntR.",
    "getattr": b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR.",
    "a class's constructor": b"ccopy_reg\n_reconstructor\n(cos\n_wrap_close\nc__builtin__\nobject\nNtR.",
    "a codec": b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
    "another user of numpy": b"cnumpy.core.multiarray\nscalar\n(NNtR.",
}
FORGERIES = {
    "objects at forged addresses": OBJECTS,
    "objects at forged addresses, without the flags of objects": b"(dU\x04data" + forged_array("O8", 0)[:-1] + b"s.",
    "a type of numbers that names a function": b"(dU\x04data" + forged_array("os.system", 0)[:-1] + b"s.",
    "state for the stand-in's class": b"(dU\x04datacnumpy\nndarray\n}S'array'\nI1\nsbs.",
    "a persistent object": b"(dU\x04dataPos.system\ns.",
    "a registered extension": b"(dU\x04data\x82\x01s.",
    "more bytes than there is memory": b"(dU\x04data"
    + forged_array("u1", 0)[:-1].replace(b"U\x08" + b"A" * 8, b"I99999999999999\n")
    + b"s.",
}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_forged_batch_runs_nothing_and_is_named(tmp_path, monkeypatch, payload):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    file = tmp_path / "cifar-10-batches-py/data_batch_4"
    file.write_bytes(PAYLOADS[payload])
    with pytest.raises(UsageError, match=r"asks for .*, which would run code, and was not loaded") as caught:
        find_source("cifar10").load(tmp_path)
    assert str(file) in str(caught.value)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("payload", [name for name in PAYLOADS if name.startswith(("a call", "exec", "eval", "by", "inside"))])
def test_the_forged_batches_do_run_where_they_are_trusted(tmp_path, monkeypatch, payload):
    # Else the test above would show nothing.
    monkeypatch.chdir(tmp_path)
    try:
        content = pickle.loads(PAYLOADS[payload], encoding="latin1")
        if hasattr(content, "wait"):
            content.wait()
    except (pickle.UnpicklingError, AttributeError):
        pass
    assert (tmp_path / "RAN").exists()


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_array_is_refused(tmp_path, forgery):
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    file = tmp_path / "cifar-10-batches-py/test_batch"
    file.write_bytes(FORGERIES[forgery])
    with pytest.raises(UsageError) as caught:
        find_source("cifar10").load(tmp_path)
    assert str(file) in str(caught.value)
    if "type of numbers" in forgery:  # it is refused before numpy sees it
        assert "arrays of type 'os.system'; valid: whole numbers or floats" in str(caught.value)


def test_a_forged_batch_is_not_run_by_torchvision_either(tmp_path, monkeypatch):
    # One batch is missing, so torchvision is asked to download the set, and finds the forged ones in its place.
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    folder = tmp_path / "cifar-10-batches-py"
    for file in folder.iterdir():
        file.write_bytes(PAYLOADS["a call of a shell"])
    (folder / "data_batch_3").unlink()
    with pytest.raises(UsageError, match="no network in tests"):
        find_source("cifar10").load(tmp_path)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_download_with_other_contents_is_refused_unread(tmp_path, monkeypatch):
    # What a server sends is compared with torchvision's checksums before anything in it is loaded.
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"

    def send(url, root_, filename=None, md5=None, **options):
        assert md5 == torchvision.datasets.CIFAR10.tgz_md5
        write_cifar10(root, both("cifar10", 53, 21))
        (root / "cifar-10-batches-py/data_batch_1").write_bytes(PAYLOADS["a call of a shell"])

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", send)
    with pytest.raises(UsageError, match="not found or corrupted"):
        find_source("cifar10").load(root)
    assert not (tmp_path / "RAN").exists()


def test_loading_leaves_nothing_behind_in_the_stand_ins(tmp_path):
    splits = both("cifar10", 53, 21)
    for number, forgery in enumerate(FORGERIES.values()):
        root = tmp_path / str(number)
        write_cifar10(root, splits)
        (root / "cifar-10-batches-py/data_batch_1").write_bytes(forgery)
        with pytest.raises(UsageError):
            find_source("cifar10").load(root)
    assert _Array.array is None
    write_cifar10(tmp_path, splits)
    check_bundle(find_source("cifar10").load(tmp_path), "cifar10", splits)
