"""The cache on disk: hits compute the same, everything that matters is in the key, nothing fails because of it."""

import os
from pathlib import Path

import numpy as np
import pytest
from here import NATIVE, NHWC, TARGET, arrays

import embed
import isa
from dataflow import Operator, conv2d, gemm
from embed.cpu import archive, cache
from embed.cpu.cache import Cache, default_directory, key_of
from embed.cpu.compile import compile_cpu

CONV = conv2d(c=3, h=5, w=5, k=4, r=3, s=3, pad=1, dtype="f32")
GEMM = gemm(m=3, n=4, k=5, dtype="f32")


def compiled(operator: Operator, store: Cache, **options: object) -> tuple[embed.CpuKernel, bool]:
    """The kernel, and whether it came from the cache."""
    found = embed.compile(operator, TARGET, cache=store, **options)
    return found, isinstance(found, archive.StoredKernel)


@NATIVE
def test_the_second_time_it_is_read(tmp_path: Path) -> None:
    store = Cache(tmp_path / "new" / "folder")
    first, was_there = compiled(CONV, store, layouts=NHWC)
    assert not was_there
    second, was_there = compiled(CONV, store, layouts={"inp": "nhwc", "out": "NHWC"})
    assert was_there
    given = arrays(first)
    assert np.array_equal(first(**given), second(**given))
    assert store.directory.stat().st_mode & 0o077 == 0


@NATIVE
def test_constants_are_not_kept(tmp_path: Path) -> None:
    store = Cache(tmp_path)
    given = arrays(embed.compile(CONV, TARGET))
    for factor in (1, 2):
        kernel, was_there = compiled(CONV, store, constants={"wgt": given["wgt"] * np.float32(factor)})
        assert was_there == (factor == 2)
        assert np.array_equal(kernel(given["inp"]), factor * embed.compile(CONV, TARGET)(**given))


def test_all_that_matters_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"layouts": {}, "threads": 1, "constants": (), "embedding": None}
    kernel = embed.compile(CONV, TARGET)
    changed = isa.loads(TARGET.path.read_text().replace("bits = 64", "bits = 32", 1))
    keys = [
        key_of(CONV, TARGET, **plain),
        key_of(GEMM, TARGET, **plain),
        key_of(CONV, changed, **plain),
        key_of(CONV, isa.load("neon"), **plain),
        *(
            key_of(CONV, TARGET, **{**plain, name: value})
            for name, value in (
                ("layouts", {"inp": "NHWC"}),
                ("threads", 2),
                ("constants", ("wgt",)),
                ("embedding", kernel.embedding),
            )
        ),
    ]
    monkeypatch.setattr(cache, "cpu_features", lambda: frozenset({"other"}))
    keys.append(key_of(CONV, TARGET, **plain))
    monkeypatch.setattr(cache, "source_digest", lambda: "other")
    keys.append(key_of(CONV, TARGET, **plain))
    assert len(set(keys)) == len(keys)
    assert key_of(CONV, isa.load(TARGET.name), **plain) == keys[-1]


def test_damaged_entries_are_made_again(tmp_path: Path) -> None:
    store = Cache(tmp_path)
    compiled(GEMM, store)
    [path] = tmp_path.iterdir()
    good = path.read_bytes()
    for bad in (b"", b"no kernel", good[:-1], good[:40] + b"?" + good[41:]):
        path.write_bytes(bad)
        assert not compiled(GEMM, store)[1]
        assert path.read_bytes() == good
        assert compiled(GEMM, store)[1]


def test_the_oldest_go_first(tmp_path: Path) -> None:
    kernels = [embed.compile(gemm(m=m, n=4, k=5, dtype="f32"), TARGET) for m in (2, 3, 4)]
    sizes = [len(kernel.dump()) for kernel in kernels]
    store = Cache(tmp_path, limit=sum(sizes) - 1)
    for age, (name, kernel) in enumerate(zip("ab", kernels, strict=False)):
        store.put(name, kernel)
        os.utime(tmp_path / f"{name}.kernel", (1000 + age, 1000 + age))
    assert store.get("a", TARGET) is not None, "a was used after b"
    store.put("c", kernels[2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.kernel", "c.kernel"]


def test_what_interrupted_writes_left_is_removed(tmp_path: Path) -> None:
    for name, age in ((".a.kernel.old", 0), (".a.kernel.new", None), ("notes.txt", 0)):
        (tmp_path / name).touch()
        if age is not None:
            os.utime(tmp_path / name, (age, age))
    compiled(GEMM, Cache(tmp_path))
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".kernel"} == {".a.kernel.new", "notes.txt"}


def test_a_place_that_cannot_be_written_hurts_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        kernel, was_there = compiled(GEMM, Cache(place))
        assert not was_there
        assert kernel.code


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache().directory == default_directory() == tmp_path / "isa-embed"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_directory() == Path.home() / ".cache" / "isa-embed"
    assert compile_cpu(GEMM, TARGET).code
    assert not (tmp_path / "isa-embed").exists(), "nothing is kept unless asked for"
