"""Files that appear whole or not at all, and what is said where they cannot."""

import os
from pathlib import Path

import numpy as np
import pytest

import dataflow
from embed.cli.data import random_arrays, read_inputs
from embed.cli.files import check_writable, make_directory, read_array, write_array, write_whole

GEMM = dataflow.requantise(dataflow.gemm(m=2, n=3, k=4), bias=True)


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.txt"
    write_whole(path, "first")
    write_whole(path, "second")
    assert path.read_text() == "second"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(dataflow.UserError, match=r"out\.txt: cannot be written: No space"):
        write_whole(path, "third")
    assert path.read_text() == "second"
    assert os.listdir(tmp_path) == ["out.txt"]  # noqa: PTH208


def test_links_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real.txt", tmp_path / "link.txt", tmp_path / "pipe"
    link.symlink_to(real)
    write_whole(link, "through the link")
    assert link.is_symlink()
    assert real.read_text() == "through the link"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "into the pipe")
    assert os.read(reader, 100) == b"into the pipe"
    os.close(reader)
    assert pipe.is_fifo()


def test_no_permission_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(None, tmp_path / "new.json")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(dataflow.UserError, match=r"new\.json: no permission to write"):
        check_writable(tmp_path / "new.json")
    with pytest.raises(dataflow.UserError, match="no permission to write"):
        make_directory(tmp_path)


def test_unusable_places(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(dataflow.UserError, match="is a directory, not a file"):
        check_writable(tmp_path)
    with pytest.raises(dataflow.UserError, match="there is no directory"):
        check_writable(tmp_path / "missing" / "out.json")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(dataflow.UserError, match="is a file, not a directory"):
            make_directory(path)


def test_arrays_are_read_back(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int8).reshape(2, 3)
    write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array)


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no numbers")
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "many.npz", np.zeros(2))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("missing.npy", "text.npy", "empty.npy", "many.npz", "objects.npy"):
        with pytest.raises(dataflow.UserError, match=name):
            read_array(tmp_path / name)


def test_random_arrays_follow_the_seed_and_the_declarations() -> None:
    arrays = random_arrays(GEMM, seed=1)
    assert {name: (array.shape, array.dtype.name) for name, array in arrays.items()} == {
        "a": ((2, 4), "int8"),
        "b": ((4, 3), "int8"),
        "bias": ((2,), "int32"),
    }
    again, other = random_arrays(GEMM, seed=1), random_arrays(GEMM, seed=2)
    assert all((arrays[name] == again[name]).all() for name in arrays)
    assert any((arrays[name] != other[name]).any() for name in arrays)
    wide = random_arrays(dataflow.gemm(m=64, n=64, k=64), seed=0)["a"]
    assert (wide.min(), wide.max()) == (-128, 127)
    floats = random_arrays(dataflow.gemm(m=4, n=4, k=4, dtype="f32"), seed=0)["a"]
    assert floats.dtype == np.float32
    assert abs(floats).max() <= 1


def test_given_inputs(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.ones((2, 4), np.int8))
    arrays = read_inputs(GEMM, [f"a={tmp_path}/a.npy"], seed=0)
    assert (arrays["a"] == 1).all()
    for word, said in (
        (f"a={tmp_path}/no.npy", "cannot read it"),
        ("c=x.npy", "--input has no 'c'; the inputs are: a: i8"),
    ):
        with pytest.raises(dataflow.UserError, match=said):
            read_inputs(GEMM, [word], seed=0)
    write_array(tmp_path / "b.npy", np.ones((4, 4), np.int8))
    with pytest.raises(dataflow.UserError, match=r"input 'b' has shape \[4, 4\], not \[4, 3\]"):
        read_inputs(GEMM, [f"b={tmp_path}/b.npy"], seed=0)
