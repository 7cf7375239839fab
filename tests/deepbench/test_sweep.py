"""Sweeps: shapes from `--set`, what the ISA file refuses, resuming, the table, the files, the page, the command."""

import csv
import json
import re
from itertools import product
from pathlib import Path

import fake
import pytest
from rich.console import Console

import isa
from dataflow import UserError
from deepbench.cli import app
from deepbench.executor import InThisProcess
from deepbench.journal import NAME
from deepbench.problems import select
from deepbench.suite import Settings, Task
from deepbench.sweep.page import page
from deepbench.sweep.run import REFUSED, Results, print_sweep, relative, rows, run_sweep
from deepbench.sweep.shapes import Shape, read_axes, shapes
from deepbench.vta.run import run_one
from embed.cli.app import run
from embed.cli.exits import Interrupted
from embed.cli.record import Record

PROBLEMS = select(suites=["inference_device"], ops=["gemm"], only=["/00"])[:4]
BLOCKS, BATCHES = (8, 16, 32, 64), (1, 4, 16)


def asked(*words: str, target: str = "vta") -> list[Shape]:
    return shapes(Settings(target), read_axes(words))


def made_up(task: Task) -> Record:
    """Cycles that a larger array divides."""
    given = dict(task.settings.parameters)
    work = given.get("block_in", 16) * given.get("batch", 1)
    return fake.record(task, parameters=given, cycles=task.problem.macs // work)


def swept(folder: Path, *words: str) -> Results:
    return run_sweep(PROBLEMS, asked(*words), InThisProcess(), folder, lambda _: None, made_up)[0]


def test_the_shapes_are_the_product_of_the_lists() -> None:
    found = asked("block_in=8,16,32,64", "batch=1,4,16")
    assert [shape.settings.parameters for shape in found] == [
        (("block_in", block), ("batch", batch)) for block, batch in product(BLOCKS, BATCHES)
    ]
    assert [shape.macs for shape in found] == [block * batch * 16 for block, batch in product(BLOCKS, BATCHES)]
    assert {shape.refusal for shape in found} == {""}
    assert [shape.series for shape in found[:3]] == ["batch=1", "batch=4", "batch=16"]


def test_a_value_may_follow_from_those_before_it() -> None:
    found = asked("block_in=8,16,8", "block_out=block_in", "batch=min(block_in,4),1")
    assert [shape.name for shape in found] == [
        f"block_in={block} block_out={block} batch={batch}" for block, batch in product((8, 16), (4, 1))
    ]
    assert {shape.series for shape in found} == {"batch=4", "batch=1"}


@pytest.mark.parametrize(("name", "words", "macs"), [
    ("gemmini", ["dim=4,8"], [16, 64]),
    ("tpu", ["array=32,64"], [32 * 32, 64 * 64]),
])  # fmt: skip
def test_any_file_with_parameters(name: str, words: list[str], macs: list[int]) -> None:
    assert [shape.macs for shape in asked(*words, target=name)] == macs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a sweep needs --set NAME=VALUE,VALUE"),
        (["block=8,16"], "there is no parameter 'block'; the parameters are: batch, block_in"),
        (["batch=1", "batch=4"], "batch is given twice"),
        (["batch=1,,4"], "--set: batch=: this is not a formula"),
        (["batch=block_in"], "--set: batch=block_in: 'block_in' has no value"),
        (["batch=3,5"], "batch=3: isa/vta.toml:.* not a whole number of words of 384 bits"),
    ],
)
def test_what_is_no_sweep(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        asked(*words)


def test_memories_keep_their_bytes_and_have_no_more_words_than_micro_ops_can_name() -> None:
    for batch, block_in, block_out in product((1, 16), (8, 64), (8, 64)):
        target = isa.load("vta", {"batch": batch, "block_in": block_in, "block_out": block_out})
        words = {"inp": batch * block_in, "wgt": block_in * block_out, "acc": batch * block_out * 4}
        for (name, size), most, bits in zip(words.items(), (32768, 262144, 131072), (11, 10, 11), strict=True):
            inputs = target.memories["inp"].count if name == "acc" else 1 << bits
            assert target.memories[name].count == min(1 << bits, most // size, inputs or 0)
    given = isa.load("vta", {"block_in": 64, "inp_bytes": 1 << 17})
    assert given.memories["inp"].count == 2048


def test_a_row_for_each_shape_and_one_for_each_result(tmp_path: Path) -> None:
    results = swept(tmp_path, "block_in=8,32", "batch=1,4")
    assert not (tmp_path / NAME).exists()
    assert all([r.problem for r in records] == [p.name for p in PROBLEMS] for records in results.values())
    for shape, ratio in relative(results).items():
        given = dict(shape.settings.parameters)
        assert ratio == pytest.approx(8 / given["block_in"] / given["batch"], rel=1e-3)
    found = list(rows(results))
    assert len(found) == 4 * len(PROBLEMS)
    assert [(row["block_in"], row["batch"]) for row in found[:: len(PROBLEMS)]] == [(8, 1), (8, 4), (32, 1), (32, 4)]
    assert found[-1]["macs_per_cycle"] == 32 * 4 * 16


def test_what_the_file_refuses_is_in_the_table(tmp_path: Path) -> None:
    results = swept(tmp_path, "batch=3,1,4")
    refused, *others = results.values()
    assert [(record.status, record.checked) for record in refused] == [(REFUSED, None)] * len(PROBLEMS)
    assert all(record.checked for records in others for record in records)
    assert list(relative(results).values()) == [None, 1.0, pytest.approx(0.25)]
    console = Console(width=200, record=True)
    print_sweep(console, results, 1.0)
    text = console.export_text()
    assert re.search(r"batch=3 +refused", text)
    assert "batch=3: refused: isa/vta.toml" in text
    assert re.search(r"batch=4 +1,024 +4 +4 +4 +4 +0.500 .* 0\.250 *\n", text)
    assert "8 results in 1 s, of 2 shapes" in text


def test_the_page_has_a_point_for_each_shape(tmp_path: Path) -> None:
    text = page(PROBLEMS, swept(tmp_path, "block_in=16,32", "batch=1,3,4"))
    assert text.count("<svg") == 2
    assert text.count("<circle") == 2 * 4
    assert text.count("<polyline") == 2 * 2
    assert "block_in=32 batch=4: 0.500, 2048 MACs" in text
    assert "not a whole number of words" in text
    assert "http" not in text


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    two = asked("batch=1,4")
    with pytest.raises(Interrupted, match="interrupted; 6 of 8 problems are done"):
        run_sweep(PROBLEMS, two, InThisProcess(), tmp_path, lambda _: None, fake.interrupt_at_last)
    ran: list[Task] = []

    def counted(task: Task) -> Record:
        ran.append(task)
        return fake.record(task)

    run_sweep(PROBLEMS, [*two, *asked("batch=16")], InThisProcess(), tmp_path, lambda _: None, counted)
    assert sorted(dict(task.settings.parameters)["batch"] for task in ran) == [1, 4, 16, 16, 16, 16]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"r.{name}" for name in ("json", "csv", "html")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    words = ["--set", "block_in=12,128", "--set", "block_out=block_in", "--set", "inp_bytes=block_in*2048"]
    command = ["sweep", *words, "--only", "device/gemm/007", "--jobs", "1", "--out", str(tmp_path / "state"), *options]
    assert run(app, command) == 0
    assert "vta: geometric means of each shape" in capsys.readouterr().out
    found = [json.loads(line) for line in files["json"].read_text().splitlines()]
    assert [(row["block_in"], row["status"], row["checked"]) for row in found] == [
        (12, "OPTIMAL", True),
        (128, "OPTIMAL", True),
    ]
    with files["csv"].open() as file:
        assert [row["macs_per_cycle"] for row in csv.DictReader(file)] == ["144.0", "16384.0"]
    assert files["html"].read_text().startswith("<!doctype html>")


def test_an_epilogue_names_no_accumulator_beyond_its_field(tmp_path: Path) -> None:
    [problem] = select(only=["inference_device/gemm/004"])
    record = run_one(Task(problem, Settings("vta", (("block_in", 64), ("batch", 16)))))
    assert (record.status, record.checked, record.error) == ("OPTIMAL", True, "")


def test_a_file_without_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", "--isa", "gemmini", "--set", "dim=8,0", "--only", "inactive", "--jobs", "1"]
    assert run(app, [*command, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert re.search(r"dim=8 +64 +1 +[01] +1 ", said)
    assert "dim=0: refused: isa/gemmini.toml" in said
