"""`isa-embed deepbench` as a user meets it: a small run in full, a slice, and Ctrl-C in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import isa
from deepbench.attempt import attempt, blank
from deepbench.cli import app
from deepbench.journal import NAME
from deepbench.problems import select
from deepbench.suite import Settings, Task
from deepbench.vta import run as vta
from embed.cli.app import run
from embed.cli.record import Record
from embed.errors import NoEmbedding

ROOT = Path(__file__).parent.parent.parent
PROGRAM = [sys.executable, "-c", "from deepbench.cli import main; main()", "deepbench"]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "r.json"), "--csv", str(tmp_path / "r.csv"), "--out", str(tmp_path / "state")]
    assert run(app, ["deepbench", "--only", "device/gemm/007", "--only", "inactive", *files]) == 0
    text = capsys.readouterr().out
    assert "inference_device conv" in text
    assert "2 problems in" in text
    records = [json.loads(line) for line in (tmp_path / "r.json").read_text().splitlines()]
    assert [record["problem"] for record in records] == [
        "inference_device/conv/inactive-000",
        "inference_device/gemm/007",
    ]
    for record in records:
        assert (record["status"], record["checked"], record["executed"]) == ("OPTIMAL", True, "full")
        assert record["utilisation"] >= record["utilisation_fixed"]
        assert record["cycles"] >= record["invocations"]
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 3
    assert sorted(file.name for file in (tmp_path / "state").iterdir()) == ["results.csv", "results.jsonl"]


def test_a_slice_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vta, "FULL_MACS", 10_000)
    monkeypatch.setattr(vta, "SLICE_MACS", 50_000)
    [problem] = select(only=["inference_device/gemm/007"])
    record = vta.run_one(Task(problem, Settings("vta")))
    assert (record.checked, record.executed, record.error) == (True, "slice", "")


def test_what_has_no_embedding_is_in_the_record() -> None:
    def none() -> Record:
        raise NoEmbedding("no instruction of vta computes it")

    [problem] = select(only=["inference_device/gemm/007"])
    record = attempt(blank(Record, problem, Settings("vta"), objective="cycles", embedding=""), none)
    assert (record.status, record.checked) == ("NONE", None)
    assert "no instruction of vta computes it" in record.error


def test_a_vta_without_a_product_is_refused_before_the_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.toml"
    written = isa.load("vta").path.read_text()
    other.write_text(written.replace("i32(inp[b,i]) * i32(wgt[o,i])", "i32(inp[b,i]) + i32(wgt[o,i])"))
    assert run(app, ["deepbench", "--isa", str(other), "--out", str(tmp_path / "state")]) == 2
    assert capsys.readouterr().err.count("no product of i8 operands") == 1


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [
        *PROGRAM,
        "--only",
        "device/gemm/005",
        "--only",
        "device/gemm/009",
        "--jobs",
        "1",
        "--out",
        str(tmp_path),
    ]
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / NAME
    while started.poll() is None and not (journal.exists() and b"\n" in journal.read_bytes()):
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate()
    assert started.returncode == 130
    assert out == ""
    assert "run the same command again to go on" in err
    assert "Traceback" not in err
    done = journal.read_text().splitlines()
    assert done
    finished = subprocess.run([*command, "--json", str(tmp_path / "all.json")], env=environment, check=False)
    assert finished.returncode == 0
    records = [json.loads(line) for line in (tmp_path / "all.json").read_text().splitlines()]
    kept = {json.loads(line)["record"] for line in done}
    assert len(records) == 2
    assert kept <= {json.dumps(record) for record in records}
    assert not journal.exists()
