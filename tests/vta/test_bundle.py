"""Bundles: the bytes written are the bytes run; whole or not at all; damage is refused in one line with the file."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataflow
import embed
import isa
from dataflow import Operator, UserError, conv2d, evaluate, gemm, requantise
from embed.vta import bundle, bundle_reader
from embed.vta.checker import check
from embed.vta.executable import VtaKernel
from embed.vta.simulator import simulate
from isa.interpreter import allocate, run
from tests.operators import inputs, quantised

VTA = isa.load("vta")
OPERATOR = requantise(conv2d(c=5, h=6, w=7, k=20, r=3, s=3, pad=1), bias=True)
GRAM = Operator("gram", (dataflow.infer("out[i,j] += x[i,k] * x[j,k]", {"i": 20, "j": 20, "k": 9}, "i8"),))


@pytest.fixture(scope="module")
def kernel() -> VtaKernel:
    return embed.compile(OPERATOR, VTA)


@pytest.fixture
def saved(kernel: VtaKernel, tmp_path: Path) -> Path:
    bundle.save(kernel, tmp_path / "bundle", inputs(OPERATOR))
    return tmp_path / "bundle"


def reads_back(operator: Operator, target: isa.Isa, directory: Path, seed: int = 0) -> None:
    """Save, load, run what the bytes say, and compare with the reference and with expected/."""
    compiled = embed.compile(operator, target)
    arrays = inputs(operator, seed)
    bundle.save(compiled, directory, arrays)
    again, program = bundle_reader.load(directory)
    assert again.embedding == compiled.embedding
    assert again.schedule == compiled.schedule
    assert again.target.parameters == target.parameters
    assert list(map(target.encode, program.instructions)) == list(map(target.encode, compiled.code.instructions))
    assert check(program, again.machine) == []
    [(name, stored)] = simulate(program, again.machine).outputs.items()
    expected = np.fromfile(directory / "expected" / f"{name}.bin", np.uint8)
    assert np.array_equal(stored, expected)
    assert np.array_equal(again.unpack(stored), evaluate(operator, arrays))
    assert np.array_equal(
        bundle_reader.kernel(directory)(**inputs(operator, seed + 1)), evaluate(operator, inputs(operator, seed + 1))
    )


@pytest.mark.parametrize(
    ("operator", "parameters"),
    [
        (OPERATOR, {}),
        (OPERATOR, {"batch": 4}),
        (OPERATOR, {"block_in": 32, "block_out": 32}),
        (gemm(m=5, n=33, k=40), {}),
        (GRAM, {}),
        (conv2d(n=2, c=4, h=5, w=5, k=6, r=2, s=2, groups=2, stride=2), {"batch": 2}),
    ],
    ids=str,
)
def test_what_is_saved_runs_as_its_bytes_say(operator: Operator, parameters: dict[str, int], tmp_path: Path) -> None:
    reads_back(operator, isa.load("vta", parameters), tmp_path / "bundle")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(quantised(), st.integers(0, 9))
def test_random_operators_are_saved_over_one_another(tmp_path: Path, operator: Operator, seed: int) -> None:
    reads_back(operator, VTA, tmp_path / "bundle", seed)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_files_are_those_of_the_description(saved: Path, kernel: VtaKernel) -> None:
    described = json.loads((saved / "program.json").read_text())
    assert sorted(described) == ["config", "insn_count", "memory", "outputs", "uop_count"]
    assert (saved / "insns.bin").stat().st_size == 16 * described["insn_count"]
    assert (saved / "uops.bin").stat().st_size == 4 * described["uop_count"]
    assert described["outputs"] == ["out"]
    assert described["config"] == "1x16_i8w8a32_15_15_18_17"
    files = {entry["file"]: entry["bytes"] for entry in described["memory"] if entry["file"]}
    assert {name: (saved / name).stat().st_size for name in files} == files
    extra = {"program.json", "kernel.json", "insns.bin", "expected"}
    assert {path.name for path in saved.iterdir()} == {*files, *extra}
    assert [path.name for path in (saved / "expected").iterdir()] == ["out.bin"]
    assert stat.S_IMODE(saved.stat().st_mode) == 0o755


def test_segments_lie_apart_within_32_bits(saved: Path) -> None:
    """Physical page 0 does not exist; addresses have 32 bits (tvm-vta)."""
    memory = json.loads((saved / "program.json").read_text())["memory"]
    spans = sorted((entry["address"], entry["address"] + entry["bytes"]) for entry in memory)
    assert spans[0][0] >= 4096
    assert spans[-1][1] <= 1 << 32
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    sizes = {"uop": 4, "wgt": 256, "inp": 16, "acc": 64, "out": 16}
    assert all(entry["address"] % sizes[entry["memory"]] == 0 for entry in memory)


def test_another_implementation_runs_the_directory(saved: Path) -> None:
    """The interpreter of ISA entries, given program.json and the files alone; tokens and time left out."""
    described = json.loads((saved / "program.json").read_text())
    end = max(entry["address"] + entry["bytes"] for entry in described["memory"])
    memories = allocate(VTA, {"dram": end})
    for entry in described["memory"]:
        if entry["file"]:
            data = np.fromfile(saved / entry["file"], np.uint8)
            memories["dram"][entry["address"] : entry["address"] + entry["bytes"]] = data
    code = (saved / "insns.bin").read_bytes()
    for start in range(0, len(code), 16):
        run(VTA, VTA.decode(code[start : start + 16]), memories)
    [place] = [entry for entry in described["memory"] if entry["name"] == "out"]
    stored = memories["dram"][place["address"] : place["address"] + place["bytes"]]
    assert np.array_equal(stored, np.fromfile(saved / "expected" / "out.bin", np.uint8))


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "1x16_i8w8a32_15_15_18_17"),
        ({"batch": 4}, "4x16_i8w8a32_15_15_18_17"),
        ({"block_in": 64, "block_out": 64}, "1x64_i8w8a32_15_15_18_17"),
        ({"block_in": 16, "block_out": 8, "wgt_bytes": 1 << 17, "acc_bytes": 1 << 16}, "1x16x8_i8w8a32_15_15_17_16"),
        ({"uop_bytes": 1 << 13, "inp_bytes": 1 << 14}, "1x16_i8w8a32_13_14_18_17"),
    ],
)
def test_the_configuration_in_upstream_s_notation(parameters: dict[str, int], text: str) -> None:
    assert bundle.config(isa.load("vta", parameters)) == text


def test_a_file_of_one_s_own_is_found_again(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(VTA.path.read_text().replace('name = "vta"', 'name = "mine"'))
    reads_back(OPERATOR, isa.load(str(mine), {"batch": 2}), tmp_path / "bundle")


def test_names_that_files_of_the_bundle_have_are_refused(tmp_path: Path) -> None:
    operator = Operator("expr", (dataflow.infer("out[i] += insns[i,k] * w[k]", {"i": 3, "k": 4}, "i8"),))
    with pytest.raises(UserError, match=r"a bundle has a file insns.bin already"):
        bundle.save(embed.compile(operator, VTA), tmp_path / "bundle", inputs(operator))


# what loading refuses


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def edit(directory: Path) -> None:
        value = json.loads((directory / name).read_text())
        change(value)
        (directory / name).write_text(json.dumps(value))

    return edit


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no program": (lambda d: (d / "program.json").unlink(), "program.json: cannot be read: No such file"),
    "no kernel": (lambda d: (d / "kernel.json").unlink(), "kernel.json: cannot be read"),
    "no instructions": (lambda d: (d / "insns.bin").unlink(), "insns.bin: cannot be read"),
    "no weights": (lambda d: (d / "wgt.bin").unlink(), "wgt.bin: cannot be read"),
    "no JSON": (lambda d: (d / "program.json").write_text("{"), "program.json: is not JSON"),
    "no text": (lambda d: (d / "kernel.json").write_bytes(b"\xff\xfe\x00"), "kernel.json: is not JSON"),
    "no end": (lambda d: (d / "kernel.json").write_text("[" * 100_000), "kernel.json: is not JSON"),
    "a list": (lambda d: (d / "kernel.json").write_text("[]"), "kernel.json: is not a JSON object"),
    "half an instruction": (lambda d: cut(d / "insns.bin", 8), "insns.bin: byte .* is no instruction of 'vta'"),
    "one instruction less": (
        lambda d: cut(d / "insns.bin", 16),
        "program.json: it counts .* instructions; insns.bin has",
    ),
    "no instruction": (lambda d: flip(d / "insns.bin"), "insns.bin: .* is no instruction of 'vta'"),
    "short weights": (lambda d: cut(d / "wgt.bin", 1), "wgt.bin: has .* bytes where program.json says"),
    "no count": (edited("program.json", lambda v: v.pop("insn_count")), "program.json: lacks 'insn_count'"),
    "no memory": (edited("program.json", lambda v: v.update(memory=None)), "program.json: is damaged: TypeError"),
    "no address": (edited("program.json", lambda v: v["memory"][0].pop("address")), "program.json: lacks 'address'"),
    "an unknown segment": (
        edited("program.json", lambda v: v["memory"][0].update(name="bias2")),
        "program.json: segment 'bias2' is none of uops, ",
    ),
    "a segment less": (edited("program.json", lambda v: v["memory"].pop()), "program.json: its memory lacks out"),
    "no ISA": (edited("kernel.json", lambda v: v.pop("isa")), "kernel.json: lacks 'isa'"),
    "an unknown ISA": (edited("kernel.json", lambda v: v.update(isa="vtb")), "kernel.json: there is no ISA 'vtb'"),
    "an unknown parameter": (
        edited("kernel.json", lambda v: v.update(parameters={"lanes": 3})),
        "kernel.json: .*there is no parameter 'lanes'",
    ),
    "parameters of another machine": (
        edited(
            "kernel.json", lambda v: v.update(parameters={"block_in": 8, "wgt_bytes": 1 << 17, "inp_bytes": 1 << 14})
        ),
        "kernel.json: not a saved embedding: CheckError capacity",
    ),
    "a broken rule": (
        edited("kernel.json", lambda v: v["embedding"]["digits"].append({"lane": "o", "dims": ["c"], "radix": 2})),
        "kernel.json: not a saved embedding: CheckError",
    ),
    "a schedule of other loops": (
        edited("kernel.json", lambda v: v["schedule"].update(tiles={"q": 1}, order=["q"])),
        "kernel.json: its schedule is not one of the loops of gemm",
    ),
    "no statement": (
        edited("kernel.json", lambda v: v["embedding"]["operator"]["statements"][0].update(text="acc[n] +=")),
        "kernel.json: ",
    ),
}


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-16] |= 7
    path.write_bytes(data)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_with_the_file_s_name(saved: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    damage(saved)
    with pytest.raises(UserError, match=reason) as raised:
        bundle_reader.load(saved)
    assert str(raised.value).startswith(f"{saved}{os.sep}")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_byte_may_change(saved: Path, data: st.DataObject) -> None:
    """Whatever the bytes of the two JSON files are, loading them succeeds or is refused with one line."""
    path = saved / data.draw(st.sampled_from(["program.json", "kernel.json"]))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:place] + data.draw(st.binary(max_size=2)) + whole[place + data.draw(st.integers(0, 3)) :])
    try:
        bundle_reader.load(saved)
    except UserError as error:
        refusal = str(error)
        assert "\n" not in refusal
    finally:
        path.write_bytes(whole)


def test_a_foreign_directory_is_not_loaded(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            UserError, match=r"program.json: cannot be read: .*; a bundle is what `isa-embed compile` wrote"
        ):
            bundle_reader.load(place)


# saving: whole or not at all


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_bundle_replaces_a_bundle_and_an_empty_directory(kernel: VtaKernel, saved: Path) -> None:
    before = contents(saved)
    bundle.save(kernel, saved, inputs(OPERATOR, 1))
    assert contents(saved).keys() == before.keys()
    assert contents(saved)["inp.bin"] != before["inp.bin"]
    empty = saved.parent / "empty"
    empty.mkdir()
    bundle.save(kernel, empty, inputs(OPERATOR))
    assert contents(empty) == before
    assert sorted(path.name for path in saved.parent.iterdir()) == ["bundle", "empty"]


def test_what_is_no_bundle_stays(kernel: VtaKernel, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="exists and is not a bundle; choose another directory"):
            bundle.save(kernel, place, inputs(OPERATOR))
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_parents_are_made(kernel: VtaKernel, tmp_path: Path) -> None:
    bundle.save(kernel, tmp_path / "a" / "b", inputs(OPERATOR))
    assert bundle_reader.load(tmp_path / "a" / "b")


def is_draft(path: Path) -> bool:
    """Whether a path is the new bundle on its way to its place."""
    return path.name.startswith(".") and (path / "insns.bin").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=repr)
@pytest.mark.parametrize("place", ["writing", "replacing"])
def test_an_interrupted_save_leaves_what_was_there(
    kernel: VtaKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, place: str
) -> None:
    bundle.save(kernel, tmp_path / "old", inputs(OPERATOR))
    before = contents(tmp_path)

    def interrupted(*args: object, **kwargs: object) -> object:
        raise error

    usual = Path.replace
    if place == "writing":
        monkeypatch.setattr(bundle, "_dump", interrupted)
    else:
        monkeypatch.setattr(Path, "replace", lambda path, to: (interrupted if is_draft(path) else usual)(path, to))
    for name in ("old", "new"):
        with pytest.raises((KeyboardInterrupt, UserError)) as raised:
            bundle.save(kernel, tmp_path / name, inputs(OPERATOR, 1))
        if isinstance(error, OSError):
            assert str(raised.value) == f"{tmp_path / name}: cannot be written: No space left on device"
        assert contents(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_directory_that_cannot_be_written_is_refused(kernel: VtaKernel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/bundle: cannot be written: (Not a directory|File exists)"):
        bundle.save(kernel, tmp_path / "file" / "bundle", inputs(OPERATOR))
    with pytest.raises(UserError, match=r"cannot be written: File name too long"):
        bundle.save(kernel, tmp_path / ("x" * 300), inputs(OPERATOR))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_directory_is_refused(kernel: VtaKernel, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="cannot be written: Permission denied"):
        bundle.save(kernel, tmp_path / "bundle", inputs(OPERATOR))


def test_no_permission_is_one_line(kernel: VtaKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(bundle.tempfile, "mkdtemp", refused)
    with pytest.raises(UserError, match="cannot be written: Permission denied") as raised:
        bundle.save(kernel, tmp_path / "bundle", inputs(OPERATOR))
    assert raised.value.exit_code == 2


def test_wrong_arrays_write_nothing(kernel: VtaKernel, tmp_path: Path) -> None:
    arrays = inputs(OPERATOR)
    del arrays["bias"]
    with pytest.raises(UserError, match=r"input 'bias' is missing; it is i32\[20\]"):
        bundle.save(kernel, tmp_path / "bundle", arrays)
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_takes_each_input_once(kernel: VtaKernel) -> None:
    arrays = inputs(OPERATOR)
    reference = evaluate(OPERATOR, arrays)
    assert np.array_equal(kernel(*arrays.values()), reference)
    assert np.array_equal(kernel(arrays["inp"], bias=arrays["bias"], wgt=arrays["wgt"]), reference)
    for given_arrays, named in ((list(arrays.values()) * 2, {}), ([arrays["inp"]], arrays), ([], {**arrays, "x": 1})):
        with pytest.raises(UserError, match="the inputs are inp, wgt, bias, each once"):
            kernel(*given_arrays, **named)


def test_a_copied_bundle_runs(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    shutil.rmtree(saved)
    _, program = bundle_reader.load(tmp_path / "copy")
    assert simulate(program, embed.compile(OPERATOR, VTA).machine).outputs
