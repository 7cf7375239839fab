"""Saved kernels: they compute the same after a round trip, and whatever was changed in a file is refused."""

import json
import struct
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from here import NATIVE, NHWC, TARGET, Array, arrays
from hypothesis import given
from hypothesis import strategies as st

import embed
import isa
from dataflow import LIBRARY, Operator, UserError, conv2d, evaluate, gemm
from embed.cpu import archive, sealed

OPERATORS = [
    pytest.param(gemm(m=7, n=19, k=11, dtype="f32"), {}, id="in place"),
    pytest.param(conv2d(c=3, h=7, w=9, k=18, r=3, s=3, pad=1, stride=2, dtype="f32"), NHWC, id="border and packed"),
    pytest.param(conv2d(c=4, h=5, w=6, k=8, r=1, s=1, groups=2, dtype="f32"), {}, id="groups"),
    pytest.param(LIBRARY["gemv"](m=33, k=17, dtype="f32"), {}, id="gemv"),
    pytest.param(
        conv2d(c=3, h=7, w=9, k=18, r=3, s=3, pad=1, dtype="f32"),
        {"inp": "NCHW8c", "wgt": "KCRS16c16k", "out": "NCHW16c"},
        id="blocks",
    ),
]


def same(left: Array, right: Array) -> bool:
    return left.strides == right.strides and np.array_equal(left.view(np.uint32), right.view(np.uint32))


@NATIVE
@pytest.mark.parametrize(("operator", "layouts"), OPERATORS)
def test_round_trip(operator: Operator, layouts: dict[str, str], tmp_path: Path) -> None:
    kernel = embed.compile(operator, TARGET, layouts=layouts, threads=2)
    kernel.save(tmp_path / "k")
    loaded = embed.load(tmp_path / "k")
    given_arrays = arrays(kernel)
    assert same(loaded(**given_arrays), kernel(**given_arrays))
    unpacked = {name: loaded.physical[name].unpack(array) for name, array in given_arrays.items()}
    expected = evaluate(operator, unpacked)
    assert np.array_equal(loaded.physical[operator.output.name].unpack(loaded(**given_arrays)), expected)
    assert (loaded.code, loaded.assembly(), loaded.threads) == (kernel.code, kernel.assembly(), 2)
    assert (loaded.embedding, loaded.schedule) == (kernel.embedding, kernel.schedule)
    assert str(loaded.nest) == str(kernel.nest)


@NATIVE
@pytest.mark.parametrize(("operator", "layouts"), OPERATORS)
def test_round_trip_with_constants(operator: Operator, layouts: dict[str, str]) -> None:
    plain = embed.compile(operator, TARGET, layouts=layouts)
    given_arrays = arrays(plain)
    *_, last = given_arrays
    kernel = embed.compile(operator, TARGET, layouts=layouts, constants={last: given_arrays.pop(last)})
    loaded = archive.parse(kernel.dump())
    assert same(loaded(**given_arrays), kernel(**given_arrays))
    assert loaded.constants.keys() == {last}
    with pytest.raises(UserError, match="is missing"):
        loaded()


def test_a_round_trip_of_code_for_another_machine() -> None:
    pytest.importorskip("unicorn")
    operator = gemm(m=3, n=9, k=5, dtype="f32")
    kernel = embed.compile(operator, isa.load("neon"))
    loaded = archive.parse(kernel.dump())
    given_arrays = arrays(kernel)
    assert loaded.assembly() == kernel.assembly()
    assert np.array_equal(loaded(**given_arrays), evaluate(operator, given_arrays))


SAVED = embed.compile(conv2d(c=3, h=5, w=5, k=4, r=3, s=3, pad=1, dtype="f32"), TARGET).dump()


@given(place=st.integers(0, len(SAVED) - 1), change=st.integers(1, 255))
def test_every_changed_byte_is_noticed(place: int, change: int) -> None:
    data = bytearray(SAVED)
    data[place] ^= change
    with pytest.raises(UserError, match=r"^is (not a saved kernel|damaged)"):
        archive.parse(bytes(data))


@given(size=st.integers(0, len(SAVED) - 1), tail=st.binary(max_size=64))
def test_every_truncation_is_noticed(size: int, tail: bytes) -> None:
    data = SAVED[:size] + tail
    if data != SAVED:
        with pytest.raises(UserError, match=r"^is (not a saved kernel|damaged)"):
            archive.parse(data)


@given(tail=st.binary(min_size=1))
def test_nothing_may_follow(tail: bytes) -> None:
    with pytest.raises(UserError, match="is damaged"):
        archive.parse(SAVED + tail)


@given(data=st.binary())
def test_foreign_files(data: bytes) -> None:
    with pytest.raises(UserError, match=r"^is (not a saved kernel|damaged)"):
        archive.parse(data)


def checked(content: bytes) -> bytes:
    return content + sha256(content).digest()


def remade(old: str, new: str) -> bytes:
    """The file with its JSON changed, and a checksum that fits."""
    text, *others = sealed.split(SAVED)
    assert old in text.decode()
    return sealed.join([text.decode().replace(old, new).encode(), *others])


def test_other_versions() -> None:
    at = len(sealed.MAGIC)
    newer = SAVED[:at] + struct.pack("<I", sealed.VERSION + 1) + SAVED[at + 4 : -32]
    with pytest.raises(UserError, match="has format version 3; this isa-embed reads 2"):
        archive.parse(checked(newer))
    with pytest.raises(UserError, match=f"was compiled for another version of {TARGET.name}; compile it again"):
        archive.parse(remade(TARGET.digest, "0" * 64))
    for old, new in (('"schedule"', '"plan"'), ('"tiles":[', '"tiles":[3,'), ('"spread":true', '"spread":7')):
        with pytest.raises(UserError, match=r"another version|not a saved"):
            archive.parse(remade(old, new))


def test_json_is_all_that_describes_it() -> None:
    text, code, past, isa_text, *_ = sealed.split(SAVED)
    assert json.loads(text)["isa"] == {"name": TARGET.name, "digest": TARGET.digest}
    assert code
    assert (past, isa_text) == (b"", b"")


def test_an_isa_file_of_ones_own_travels_along(tmp_path: Path) -> None:
    operator = gemm(m=3, n=4, k=5, dtype="f32")
    (tmp_path / "mine.toml").write_text(TARGET.path.read_text())
    kernel = embed.compile(operator, isa.load(tmp_path / "mine.toml"))
    kernel.save(tmp_path / "k")
    (tmp_path / "mine.toml").unlink()
    assert embed.load(tmp_path / "k").code == kernel.code


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    kernel = archive.parse(SAVED)
    with pytest.raises(UserError, match="cannot be written"):
        kernel.save(tmp_path / "no" / "k")
    with pytest.raises(UserError, match=r"missing: cannot be read"):
        embed.load(tmp_path / "missing")
    kernel.save(tmp_path / "k")
    kernel.save(tmp_path / "k")
    assert [path.name for path in tmp_path.iterdir()] == ["k"]
    assert (tmp_path / "k").stat().st_size == len(SAVED)
