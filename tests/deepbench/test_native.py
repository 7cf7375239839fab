"""Tiny problems on this machine's CPU, from the command to the record."""

import json
from dataclasses import replace
from pathlib import Path

import native_fake
import pytest
from native_fake import needs

import isa
from dataflow import UserError
from deepbench.cli import app
from deepbench.executor import InThisProcess
from deepbench.journal import NAME
from deepbench.native import run as native
from deepbench.native.causes import cause
from deepbench.native.record import NativeRecord
from deepbench.native.suite import read_threads, timed
from deepbench.problems import Problem, select
from deepbench.suite import NativeSettings, Task
from embed.cli.app import run

GEMM = {"m": 40, "n": 6, "k": 24, "transpose_a": False, "transpose_b": True}
SMALL = Problem("own/gemm/0", "own", "gemm", tuple(GEMM.items()))
CONV = Problem(
    "own/conv/0",
    "own",
    "conv",
    tuple({"n": 1, "c": 6, "h": 7, "w": 9, "k": 20, "r": 3, "s": 3, "stride": (2, 1), "pad": (1, 1)}.items()),
)


@pytest.mark.parametrize("name", ["avx512", "avx2", "avx512_bf16", "avx512_vnni"])
@pytest.mark.parametrize("problem", [SMALL, CONV], ids=["gemm", "conv"])
def test_a_problem_is_checked_and_rated(name: str, problem: Problem) -> None:
    needs(name)
    record = native.run_native(Task(problem, NativeSettings(name, seconds=0.001)))
    assert (record.error, record.checked, record.executed) == ("", True, "full")
    assert record.macs == problem.macs
    assert record.seconds is not None
    assert record.share is not None
    assert record.share > 0
    assert record.intensity == 2 * record.macs / record.bytes
    assert all(0 < share <= 1 for share in record.losses.values())
    assert "the rest" in cause(record)
    assert NativeRecord.from_json(record.to_json()) == record


def test_several_threads_race_with_one() -> None:
    needs("avx2")
    settings = NativeSettings("avx2", seconds=0.001)
    assert native.run_native(Task(CONV, settings)).speedup is None
    record = native.run_native(Task(CONV, replace(settings, threads=2)))
    assert (record.error, record.checked) == ("", True)
    assert record.speedup is not None
    assert record.speedup > 0


def test_small_products_are_taken_as_they_lie() -> None:
    needs("avx512")
    (problem,) = select(["small_gemm"], only=["gemm/002"])
    ready = native.prepared(problem, isa.load("avx512"), "f32", 1, 0)
    ready.run()
    assert ready.expected.holds(ready.out)
    assert len(ready.free) == 2
    assert all(stream.feed.in_place for stream in ready.kernel.streams.values())
    assert native.group_of(problem) == "gemm"


def test_what_goes_wrong_is_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("avx512")
    monkeypatch.setattr(native, "operator_of", lambda problem, dtype: problem.operator())
    record = native.run_native(Task(SMALL, NativeSettings("avx512")))
    assert record.status in ("NONE", "ERROR")
    assert record.error
    assert "\n" not in record.error


def test_a_wrong_result_is_said_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("avx512")
    monkeypatch.setattr(native.Reference, "holds", lambda *_: False)
    record = native.run_native(Task(SMALL, NativeSettings("avx512", seconds=0.001)))
    assert record.checked is False
    assert record.seconds is None


def test_dtypes_follow_the_isa() -> None:
    names = ("avx2", "avx512", "avx512_bf16", "avx512_vnni")
    assert [native.dtype_of(isa.load(name)) for name in names] == ["f32", "f32", "bf16", "i8"]


def test_real_taps_count_what_is_not_padding() -> None:
    padded = Problem(
        "own/conv/1", "own", "conv", (*CONV.sizes[:5], ("r", 1), ("s", 1), ("stride", (2, 2)), ("pad", (3, 3)))
    )
    rows, columns = ({2 * y - 3 for y in range((size + 5) // 2 + 1)} & set(range(size)) for size in (7, 9))
    expected = len(rows) * len(columns) / (((7 + 5) // 2 + 1) * ((9 + 5) // 2 + 1))
    assert native.real_taps(native.operator_of(padded, "f32")) == pytest.approx(expected)
    assert native.real_taps(native.operator_of(SMALL, "f32")) == 1.0


def test_groups() -> None:
    groups = {problem.name: native.group_of(problem) for problem in select(["inference_server"])}
    counts = {group: list(groups.values()).count(group) for group in set(groups.values())}
    assert counts == {"conv": 107, "gemm n>=700": 48, "gemm n<=4": 27}


def test_levels_grow() -> None:
    order = ["L1", "L2", "L3", "memory"]
    found = [native.level_of(size) for size in (1 << 10, 1 << 34, 1 << 60)]
    assert found == sorted(found, key=order.index)
    assert found[-1] == "memory"


@pytest.mark.parametrize("text", ["", "0", "1,x", "-2"])
def test_threads_are_positive_numbers(text: str) -> None:
    with pytest.raises(UserError, match="--threads"):
        read_threads(text)
    assert read_threads("2,1,2") == [2, 1]


def test_a_run_goes_on_from_its_journal(tmp_path: Path) -> None:

    problems = select(["inference_device"], ["gemm"])[:3]
    ran: list[str] = []

    def runner(task: Task) -> NativeRecord:
        ran.append(task.problem.name)
        return native_fake.run(task)

    for _ in range(2):
        rows = timed(problems, NativeSettings("avx512"), tmp_path, InThisProcess(), runner, lambda _: None)
    assert sorted(ran) == [problem.name for problem in problems]
    assert [problem for problem, _ in rows] == problems
    timed(problems, NativeSettings("avx512", threads=2), tmp_path, InThisProcess(), runner, lambda _: None)
    assert len(ran) == 6
    assert len(list(tmp_path.glob(f"*/{NAME}"))) == 2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("avx512")
    files = {name: tmp_path / f"r.{name}" for name in ("json", "csv", "html")}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    command = ["deepbench", "--isa", "avx512", "--only", "device/gemm/007", "--seconds", "0.001", "--threads", "1,2"]
    assert run(app, [*command, *options, "--out", str(tmp_path / "state")]) == 0
    text = capsys.readouterr().out
    assert "inference_device gemm" in text
    assert "2 threads" in text
    records = [json.loads(line) for line in files["json"].read_text().splitlines()]
    assert [record["threads"] for record in records] == [1, 2]
    assert len(files["csv"].read_text().splitlines()) == 3
    assert files["html"].read_text().startswith("<!doctype html>")
    assert sorted(file.name for file in (tmp_path / "state").iterdir()) == ["results.csv", "results.jsonl"]


def test_peers_are_for_cpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["deepbench", "--isa", "vta", "--peers", "--out", str(tmp_path)]) == 2
    said = "--peers: only for a CPU that runs here, not for vta"
    assert said in capsys.readouterr().err
