"""The suite on CPUs that are not here: problems run in an emulator, slices of large ones, tables and files."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_native import CONV, SMALL

import isa
from dataflow import conv2d, gemm
from deepbench.cli import app
from deepbench.emulated import page as emulated_page
from deepbench.emulated import run as emulated
from deepbench.emulated.published import published
from deepbench.emulated.record import EmulatedRecord
from deepbench.emulated.table import Rows, grouped, print_emulated
from deepbench.problems import Problem, select
from deepbench.suite import DONE, Settings, Task
from embed.cli.app import run
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.cpu.runner import emulator, qemu
from embed.cpu.runner.machine import machine_of

TYPES = {"neon": "f32", "neon_fp16": "f16:f16", "neon_dotprod": "i8*i8", "neon_i8mm": "i8*i8", "neon_bf16": "bf16"}
CORES = {"neon": 3, "neon_fp16": 2, "neon_dotprod": 2, "neon_i8mm": 2, "neon_bf16": 1}


def needs(name: str) -> None:
    """Skip a test where nothing here runs the ISA's code."""
    features = {feature for entry in isa.load(name).instructions.values() for feature in entry.requires}
    if machine_of(isa.load(name)).native:
        return
    if features & emulator.MISSING and not qemu.available():
        pytest.skip("qemu-aarch64 is not installed")
    if emulator.missing():
        pytest.skip("unicorn is not installed")


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("problem", [SMALL, CONV], ids=["gemm", "conv"])
def test_a_problem_is_run_and_counted(name: str, problem: Problem) -> None:
    needs(name)
    record = emulated.run_emulated(Task(problem, Settings(name)))
    assert (record.error, record.checked, record.executed) == ("", True, "full")
    assert record.dtype == TYPES[name]
    assert record.tiles_run == record.tiles > 0
    assert record.macs == problem.macs
    assert record.instructions > record.multiply_accumulates >= record.hot_multiply_accumulates
    assert len(record.cycles) == CORES[name]
    assert all(rate > 0 for rate in record.gflops.values())
    assert EmulatedRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("problem", [SMALL, CONV], ids=["gemm", "conv"])
def test_a_slice_of_the_tiles(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """All counts stay; what is run is checked, and what is wrong there is found."""
    needs("neon")
    task = Task(problem, Settings("neon"))
    whole = emulated.run_emulated(task)
    monkeypatch.setattr(emulated, "FULL_INSTRUCTIONS", 1)
    monkeypatch.setattr(emulated, "SLICE_INSTRUCTIONS", 1)
    record = emulated.run_emulated(task)
    assert (record.error, record.checked, record.executed, record.tiles_run) == ("", True, "slice", 2)
    assert replace(record, tiles_run=whole.tiles_run, executed="full", compile_s=whole.compile_s) == whole
    monkeypatch.setattr(CpuKernel, "part", lambda kernel, _: lambda *_, out: out)
    assert emulated.run_emulated(task).checked is False


@pytest.mark.parametrize(
    "operator", [gemm(m=70, n=30, k=5, dtype="f32"), conv2d(c=3, h=9, w=7, k=20, r=2, s=3, dtype="f32")]
)
def test_tiles_compute_what_their_numbers_say(operator: object) -> None:
    needs("neon")
    kernel = compile_cpu(operator, isa.load("neon"))  # type: ignore[arg-type]
    terms = np.prod([kernel.embedding.extents[dim] for dim in kernel.embedding.operator.main.reduction_dims])
    numbers = emulated.tile_numbers(kernel)
    assert numbers is not None
    assert np.array_equal(np.unique(numbers), np.arange(kernel.tiles))
    for number in {0, kernel.tiles // 2, kernel.tiles - 1}:  # other numbers each time: buffers are used again
        given = {tensor.name: np.full(tensor.shape, 1.0 + number, "f4") for tensor in kernel.embedding.operator.inputs}
        part = kernel.part(range(number, number + 1))(**given, out=np.zeros(numbers.shape, "f4"))
        assert np.array_equal(part == terms * (1.0 + number) ** 2, numbers == number)


def test_what_goes_wrong_is_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated, "dtype_of", lambda _: "u8*i8")
    record = emulated.run_emulated(Task(SMALL, Settings("neon")))
    assert record.status == "NONE"
    assert "no instruction of neon" in record.error


def test_published_times_are_of_matrix_products() -> None:
    """13 products on four Cortex-A53; iPhones do not say their core, and the convolutions are suspect."""
    problems = select(["inference_device"])
    found = {problem.name: published(problem) for problem in problems}
    assert all(len(times) == (problem.op == "gemm") for problem, times in zip(problems, found.values(), strict=True))
    (first,) = found["inference_device/gemm/000"]
    assert (first.core, first.cores, first.milliseconds) == ("cortex-a53", 4, 815.305)


def rows() -> Rows:
    """Records that are made up."""
    found = []
    for place, problem in enumerate(select(["inference_device"], only=["*conv/00[01]", "*gemm/00[01]"])):
        record = EmulatedRecord(
            problem=problem.name, suite=problem.suite, op=problem.operator().title, isa="neon", parameters={},
            status=DONE, dtype="f32", group=problem.op, embedding="fmla(a->a, b->b)", macs=problem.macs,
            compile_s=0.02, instructions=problem.macs // 2, multiply_accumulates=problem.macs // 4,
            loads=problem.macs // 8, hot_instructions=1000, hot_multiply_accumulates=800 + place, hot_loads=200,
            cycles={"cortex-a53": problem.macs // 3}, gflops={"cortex-a53": 7.2}, tiles=10, tiles_run=10 - place // 2,
            published={"cortex-a53": {"device": "a Pi", "cores": 4, "ms": 7.5, "how": "int8"}} if place > 1 else {},
            checked=True, executed="full" if place == 0 else "slice",
        )  # fmt: skip
        found.append((problem, record))
    wrong = replace(found[0][1], checked=False)
    failed = replace(found[1][1], checked=None, executed="no", error="no <instruction> fits", cycles={}, gflops={})
    return [*found, (found[0][0], wrong), (found[1][0], failed)]


def test_the_tables(golden: Callable[[str, Path], None]) -> None:
    console = Console(width=240)
    with console.capture() as captured:
        print_emulated(console, rows(), wall=3.0)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"
    golden(text, Path(__file__).parent / "golden" / "emulated.txt")


def test_the_page() -> None:
    text = emulated_page.page(rows(), 3.0)
    assert text.count("<table") == text.count("</table>") == 1 + 2 * len(grouped(rows()))
    assert "no &lt;instruction&gt; fits" in text


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("neon")
    files = {name: tmp_path / f"r.{name}" for name in ("json", "csv", "html")}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    command = ["deepbench", "--isa", "neon", "--only", "gemm/007", "--jobs", "1", *options]
    assert run(app, [*command, "--out", str(tmp_path / "state")]) == 0
    text = capsys.readouterr().out
    assert "inference_device gemm n<=4: estimates" in text
    assert "published cortex-a53 ms" in text
    (record,) = [json.loads(line) for line in files["json"].read_text().splitlines()]
    assert record["problem"] == "inference_device/gemm/007"
    assert len(files["csv"].read_text().splitlines()) == 2
    assert files["html"].read_text().startswith("<!doctype html>")
    assert sorted(file.name for file in (tmp_path / "state").iterdir()) == ["results.csv", "results.jsonl"]


def test_peers_need_the_cpu_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["deepbench", "--isa", "neon", "--peers", "--threads", "2", "--out", str(tmp_path)]
    assert run(app, command) == 2
    assert "--peers, --threads: only for a CPU that runs here, not for neon" in capsys.readouterr().err


def test_a_missing_emulator_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if machine_of(isa.load("neon")).native:
        pytest.skip("this computer runs the code itself")
    monkeypatch.setattr(emulator, "missing", lambda: True)
    monkeypatch.setattr(qemu, "available", lambda: False)
    for name, remedy in (("neon", "pip install 'isa-embed[arm]'"), ("neon_bf16", "apt-get install qemu-user")):
        assert run(app, ["deepbench", "--isa", name, "--out", str(tmp_path)]) == 2
        assert remedy in capsys.readouterr().err
