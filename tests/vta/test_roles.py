"""No name of an entry or a memory matters: a file in which all are called something else makes the same programs."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import embed
import isa
from dataflow import Operator, UserError, conv2d, evaluate, gemm, requantise
from embed.cli.data import random_arrays
from embed.cli.trace import spans, timeline
from embed.vta.checker import check
from embed.vta.executable import VtaKernel
from embed.vta.machine import Machine
from embed.vta.roles import Job, Scratchpad
from embed.vta.simulator import CHISEL, FSIM, TimingReport, simulate
from isa.model import Isa

SHIPPED = isa.load("vta").path.read_text()
ENTRIES = tuple(isa.load("vta").instructions)
MEMORIES = ("dram", "uop", "inp", "wgt", "acc", "out")

PRODUCT = requantise(gemm(m=5, n=37, k=19))
CASES: dict[str, tuple[Operator, dict[str, int]]] = {
    "bias": (requantise(conv2d(c=3, h=5, w=4, k=5, r=3, s=3, pad=1), bias=True), {}),
    "stride": (requantise(conv2d(n=3, c=9, h=5, w=4, k=6, r=3, s=2, stride=2), relu=True), {"batch": 4}),
    "planes": (conv2d(c=5, h=4, w=6, k=4, r=1, s=3), {"batch": 2, "block_in": 4, "block_out": 8}),
    "product": (PRODUCT, {"batch": 4, "block_in": 8}),
    "vector": (gemm(m=1, n=23, k=50), {"batch": 2, "block_in": 4, "block_out": 8}),
}


def renamed() -> str:
    """The shipped file with other names for all entries and memories; what refers to them follows."""
    memories, entries = "|".join(MEMORIES), "|".join(ENTRIES)
    numbers = {name: f"entry_{number}" for number, name in enumerate(reversed(ENTRIES))}
    text = re.sub(rf"^({memories})(\s+= {{ kind)", r"my_\1\2", SHIPPED, flags=re.M)
    text = re.sub(rf"\b({memories})(?=\.(?:bits|count)\b|\[u\])", r"my_\1", text)
    text = re.sub(rf'\bin(\s*)= "({memories})"', r'in\1= "my_\2"', text)
    named = rf'^(name|like)(\s+= )"({entries})"'
    text = re.sub(named, lambda said: f'{said[1]}{said[2]}"{numbers[said[3]]}"', text, flags=re.M)
    return re.sub(rf"^({entries})(\s+= {{ unit)", lambda said: numbers[said[1]] + said[2], text, flags=re.M)


def written(directory: Path, text: str, parameters: Mapping[str, int]) -> Isa:
    path = directory / "mine.toml"
    path.write_text(text)
    return isa.load(str(path), dict(parameters))


def colours(kernel: VtaKernel, report: TimingReport) -> list[str]:
    picture = timeline(spans(kernel.code, kernel.machine, report), 0, report.cycles)
    return re.findall(r'<rect x="[^"]+" [^>]* fill="([^"]+)"', picture)


def test_all_names_are_others(tmp_path: Path) -> None:
    target = written(tmp_path, renamed(), {})
    assert not {*target.instructions} & {*ENTRIES}
    assert not {*target.memories} & {*MEMORIES}
    assert {*target.timing.costs} == {*target.instructions}


@pytest.mark.parametrize(("operator", "sizes"), CASES.values(), ids=CASES)
def test_other_names_make_the_same_programs(operator: Operator, sizes: dict[str, int], tmp_path: Path) -> None:
    shipped, other = isa.load("vta", sizes), written(tmp_path, renamed(), sizes)
    first, second = embed.compile(operator, shipped), embed.compile(operator, other)
    assert list(map(shipped.encode, first.code.instructions)) == list(map(other.encode, second.code.instructions))
    assert [each.name for each in first.code.instructions] != [each.name for each in second.code.instructions]
    arrays = random_arrays(operator, 5)
    bound = second.bind(arrays)
    assert bound.segments == first.bind(arrays).segments
    assert check(bound, second.machine) == []
    for semantics in (FSIM, CHISEL):
        stored = next(iter(simulate(bound, second.machine, semantics=semantics, sram_seed=3).outputs.values()))
        assert np.array_equal(second.unpack(stored), evaluate(operator, arrays))
    told, expected = second.timing(), first.timing()
    assert (told.cycles, told.engines, told.bytes) == (expected.cycles, expected.engines, expected.bytes)
    assert colours(second, told) == colours(first, expected)
    second.save(tmp_path / "bundle", arrays)
    assert np.array_equal(embed.load(tmp_path / "bundle")(**arrays), evaluate(operator, arrays))


LACKING = {
    "inp[b,i] = dram[b,i]": "load of the product's first operand",
    "wgt[o,i] = dram[o,i]": "load of the product's second operand",
    "acc[b,o] = dram[b,o]": "load of the product's sums",
    "uop = dram": "load of micro-operations",
    "acc[b,o] = 0": "reset of the product's sums",
    "dram[b,o] = i8(acc[b,o])": "store of the product's sums as i8",
    "acc[b,o] += i32(inp[b,i]) * i32(wgt[o,i])": "product of i8 operands",
}


@pytest.mark.parametrize(("pattern", "missing"), LACKING.items(), ids=LACKING.values())
def test_what_is_missing_is_said_with_a_pattern_that_would_do(pattern: str, missing: str, tmp_path: Path) -> None:
    assert SHIPPED.count(f'"{pattern}"') == 1
    target = written(tmp_path, SHIPPED.replace(f'"{pattern}"', f'"{pattern} + 1"'), {})
    said = re.escape(f"mine.toml: 'vta' has micro-operations but no {missing}") + ".*; one has pattern = "
    with pytest.raises(UserError, match=said + re.escape(f'"{pattern}"')):
        embed.compile(PRODUCT, target)


def test_a_program_must_end(tmp_path: Path) -> None:
    entry = SHIPPED.index('[[instruction]]\nname    = "finish"')
    text = SHIPPED[:entry] + SHIPPED[SHIPPED.index("[timing.de10]") :]
    target = written(tmp_path, re.sub(r"^finish .*\n", "", text, flags=re.M), {})
    with pytest.raises(UserError, match="no end of the program; one has an encoding and neither pattern nor operands"):
        embed.compile(PRODUCT, target)


def test_units_are_those_of_the_engines(tmp_path: Path) -> None:
    text = SHIPPED.replace('load_wgt    = { unit = "load"', 'load_wgt    = { unit = "compute"')
    with pytest.raises(
        UserError, match="'load_wgt' is timed on unit 'compute', but it is the load engine that runs it"
    ):
        Machine.of(written(tmp_path, text, {}))
    other = re.sub(r'unit = "(\w+)"', r'unit = "my_\1"', SHIPPED)
    assert Machine.of(written(tmp_path, other, {})).roles.entries == Machine.of(isa.load("vta")).roles.entries


def test_operands_may_be_written_in_either_order(tmp_path: Path) -> None:
    text = SHIPPED.replace("i32(inp[b,i]) * i32(wgt[o,i])", "i32(wgt[o,i]) * i32(inp[b,i])")
    roles = Machine.of(written(tmp_path, text, {})).roles
    assert roles.memories == Machine.of(isa.load("vta")).roles.memories
    assert roles.name(Job.LOAD, Scratchpad.WGT) == "load_wgt"


def test_what_vta_cannot_do_has_no_role(tmp_path: Path) -> None:
    text = SHIPPED.replace("max(dst[b,o], imm)", "dst[b,o] - imm").replace("= i32(dram[b,o])", "= i32(dram[b,o]) + 1")
    entries = Machine.of(written(tmp_path, text, {})).roles.entries
    assert {*ENTRIES} - {*entries} == {"alu_max_imm", "load_acc8"}
