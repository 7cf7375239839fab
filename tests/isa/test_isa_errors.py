"""Wrong ISA files and wrong requests give the expected text; no text at all makes the loader crash."""

import contextlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isa
from isa import loads

HERE = Path(__file__).parent
WRONG = sorted((HERE / "wrong").glob("*.toml"))
TOY = (HERE / "files" / "toy.toml").read_text(encoding="utf-8")
MIXED = (HERE / "files" / "mixed.toml").read_text(encoding="utf-8")
AMX, VTA, RVV = ((Path(isa.__file__).parent / f"{name}.toml").read_text("utf-8") for name in ("amx", "vta", "rvv"))
SHORT_FILES = [TOY, TOY, TOY, MIXED]
LONG_FILES = [AMX, VTA, RVV]
SHIPPED = "(shipped names)"
"""Stands in the expected texts for the list of ISAs, which grows."""


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_wrong_file(path: Path, golden: Callable[[str, Path], None]) -> None:
    with pytest.raises(isa.IsaError) as caught:
        loads(path.read_text(encoding="utf-8"), label=path.name)
    message = str(caught.value).replace(", ".join(isa.names()), SHIPPED)
    golden(f"{message}\n", path.with_suffix(".expect"))


def test_there_are_many_wrong_files() -> None:
    assert len(WRONG) >= 15
    assert {path.stem for path in WRONG} == {path.stem for path in (HERE / "wrong").glob("*.expect")}


@pytest.mark.parametrize(
    ("what", "parameters", "expected"),
    [
        ("vtx", {}, "there is no ISA 'vtx'; there are: "),
        ("missing.toml", {}, "missing.toml: error: cannot read this file: No such file or directory"),
        ("folder", {}, "folder: error: this is a folder, not an ISA file"),
        ("binary.toml", {}, "binary.toml: error: not UTF-8 text (byte 2); an ISA file is TOML"),
        ("vta", {"batches": 2}, "isa/vta.toml: there is no parameter 'batches'; the parameters are: batch, block_in"),
        ("vta", {"batch": "2"}, "isa/vta.toml: parameter 'batch' is an integer, not '2'"),
        ("vta", {"batch": True}, "isa/vta.toml: parameter 'batch' is an integer, not True"),
        ("vta", {"batch": 0}, "'bits' is at least 8, not 8 * batch * block_in = 0"),
        ("vta", {"acc_bytes": 100}, "100 bytes are not a whole number of words of 512 bits"),
        (
            "vta",
            {"block_in": 8, "block_out": 8, "inp_bytes": 1 << 15, "wgt_bytes": 1 << 18, "acc_bytes": 1 << 17},
            "does not fit the 8 bits left in word 0 of 32 bits; its widths follow",
        ),
    ],
)
def test_wrong_request(
    what: str, parameters: dict[str, int], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"ab\xff\xfe")
    with pytest.raises(isa.IsaError) as caught:
        isa.load(what, parameters)
    assert expected in str(caught.value)


@st.composite
def mutations(draw: st.DrawFn, files: list[str]) -> str:
    """The text of a valid file with pieces cut, doubled or overwritten, or words exchanged for other words of it."""
    text = draw(st.sampled_from(files))
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from([exchanged, exchanged, overwritten]))(draw, text)
    return text


def exchanged(draw: st.DrawFn, text: str) -> str:
    """A word or sign becomes another one of the file, or of `PIECES`."""
    words = words_of(text)
    if not words:
        return text
    place = words[draw(st.integers(0, len(words) - 1))]
    other = draw(st.sampled_from(PIECES) | st.integers(0, len(words) - 1).map(lambda number: words[number].group()))
    return text[: place.start()] + other + text[place.end() :]


@lru_cache(maxsize=64)
def words_of(text: str) -> list[re.Match[str]]:
    return list(WORD.finditer(text))


def overwritten(draw: st.DrawFn, text: str) -> str:
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.integers(0, 30)))
    piece = draw(st.sampled_from(PIECES) | st.text(max_size=4) | st.just(text[start:end] * 2))
    return text[:start] + piece + text[end:]


WORD = re.compile(r"\w+|[^\w\s]")
PIECES = [
    "",
    "",
    "=",
    '"',
    "'''",
    '"""',
    "[",
    "]",
    "[[",
    "{",
    "}",
    "(",
    ")",
    ",",
    ".",
    "..",
    "#",
    "\n",
    "\r\n",
    "\t",
    "\\",
    "-1",
    "0",
    "1",
    "64",
    "9" * 40,
    "1e3",
    "true",
    "[]",
    "{}",
    "l",
    "lanes",
    "acc",
    "acc.count",
    "log2(",
    "//",
    "/",
    "%",
    "**",
    "0:*",
    "[3:0]",
    "[1]",
    "field",
    "like",
    "set",
    "when",
    "choice",
    "i32",
    "u1",
    "f32",
    "and",
    "not",
    "<",
    "<<",
    "0x10",
    "1970-01-01",
    "uop[u].dst",
    "-" * 200,
    "(" * 150,
    "\N{GREEK SMALL LETTER PHI}",
]


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations(SHORT_FILES))
def test_no_text_crashes_the_loader(text: str) -> None:
    with contextlib.suppress(isa.IsaError):
        loads(text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations(LONG_FILES))
def test_no_long_text_crashes_the_loader(text: str) -> None:
    with contextlib.suppress(isa.IsaError):
        loads(text)


@pytest.mark.parametrize("opening", ["(", "[", "-", "i32(", "not "])
def test_deep_nesting_is_an_error(opening: str) -> None:
    for place in ('"b + imm"', '"dst[l] = 0"', '"i8[l]"'):
        with pytest.raises(isa.IsaError):
            loads(TOY.replace(place, f'"{opening * 5000}1"'))
    with pytest.raises(isa.IsaError):
        loads(TOY + "\nx = " + "[" * 5000)


def places(text: str) -> list[int]:
    """The lines of the mistakes that one error names."""
    with pytest.raises(isa.IsaError) as caught:
        loads(text)
    return [mistake.place[0] for mistake in caught.value.mistakes]


@pytest.mark.parametrize("name", ["gemmini", "neon", "vta", "avx512", "tpu"])
def test_what_follows_from_a_mistake_is_none(name: str) -> None:
    """Patterns that are spoilt are named, or left out as like one that is; nothing else is."""
    lines = (Path(isa.__file__).parent / f"{name}.toml").read_text("utf-8").split("\n")
    spoilt = [number for number, line in enumerate(lines) if line.startswith("pattern")][:5]
    for number in spoilt:
        lines[number] = lines[number].replace('= "', '= "?', 1)
    found = places("\n".join(lines))
    assert found == sorted(found)
    assert {spoilt[0] + 1} <= set(found) <= {number + 1 for number in spoilt}


def test_a_wrong_parameter_is_the_only_mistake() -> None:
    assert places(TOY.replace("default = 16", 'default = "16 +"')) == [3]


def test_so_many_mistakes_are_named() -> None:
    text = TOY.replace("[memory]", "[memory]\n" + "\n".join(f"m{n} = 3" for n in range(25)))
    with pytest.raises(isa.IsaError) as caught:
        loads(text)
    assert str(caught.value).count("error: ") == 20
    assert str(caught.value).endswith("\nand 5 more")
