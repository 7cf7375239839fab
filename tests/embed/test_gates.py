"""The gates made from a file: every shipped file stands them, and canonical texts are as good as their files."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from embed.gates import run_gates
from isa.bench import Bench
from isa.interpreter import run
from isa.printer import canonical
from isa.source import Source

SHIPPED = Path(isa.__file__).parent
TEXT = st.text(max_size=9)
SMALLER = {"tpu": {"ub_bytes": 1 << 16, "acc_bytes": 1 << 18}}


@pytest.mark.parametrize("name", isa.names())
def test_every_shipped_file_stands_them(name: str) -> None:
    path = SHIPPED / f"{name}.toml"
    target = isa.load(name, SMALLER.get(name))
    results = list(run_gates(Source.read(path, path.name), target))
    assert len(results) == 4 + any(entry.sequence for entry in target.instructions.values())
    assert [failure for result in results for failure in result.failures] == []
    assert all(result.tried for result in results[1:])


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(max_size=6), st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=3)), max_size=4
    )
)
def test_any_values_are_printed_back(values: dict[str, object]) -> None:
    assert tomllib.loads(canonical({"doc": 'a\n"b"\\ \x7f', "timing": {"core 1": values}})) == {
        "doc": 'a\n"b"\\ \x7f',
        "timing": {"core 1": values},
    }


def test_a_canonical_text_is_its_own() -> None:
    for name in ("vta", "neon_bf16"):
        text = canonical(Source.read(SHIPPED / f"{name}.toml", name).values)
        assert canonical(Source.of(text, name).values) == text
        assert replace(isa.loads(text), path=isa.load(name).path) == isa.load(name)


@pytest.mark.parametrize("name", ["edge", "mma_sync", "neon", "amx"])
def test_a_bench_sees_a_wrong_element(name: str) -> None:
    """Some element of every integer sum is compared: one that is changed is found sooner or later."""
    target, random = isa.load(name), np.random.default_rng(0)
    sums = [entry for entry in target.instructions.values() if entry.pattern and entry.pattern.accumulate]
    for entry in (entry for entry in sums if entry.pattern and entry.pattern.tensors[0].dtype == "i32"):
        bench = Bench(target, entry, random)
        run(target, bench.item, bench.memories)
        assert bench.agrees()
        assert entry.output is not None
        bench.write(entry.output.name, bench.read(entry.output.name) + 1)
        assert not bench.agrees()
