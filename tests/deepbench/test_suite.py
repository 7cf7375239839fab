"""The mechanics of a suite with a fake runner: order, resuming, stale results, failures, worker processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake
import pytest

from dataflow import UserError
from deepbench.executor import InThisProcess, LocalProcesses
from deepbench.journal import NAME, open_journal
from deepbench.problems import select
from deepbench.suite import Settings, Task, fingerprints, run_suite
from embed.cli.exits import Interrupted
from embed.cli.record import Record

PROBLEMS = select(suites=["inference_device"], ops=["gemm"], only=["/00"])[:4]
SETTINGS = Settings("vta", (("batch", 4),))


def run(
    folder: Path, runner: Callable[[Task], Record], settings: Settings = SETTINGS
) -> tuple[list[Record], list[str]]:
    """The records, and the names of the problems that really ran."""
    ran: list[str] = []

    def counted(task: Task) -> Record:
        ran.append(task.problem.name)
        return runner(task)

    with open_journal(folder) as journal:
        records = run_suite(PROBLEMS, settings, journal, InThisProcess(), counted, lambda _: None)
    return records, ran


def test_records_are_in_order_and_the_largest_runs_first(tmp_path: Path) -> None:
    records, ran = run(tmp_path, fake.run)
    assert [record.problem for record in records] == [problem.name for problem in PROBLEMS]
    assert ran[0].endswith("/000")
    assert sorted(ran) == [problem.name for problem in PROBLEMS]


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(
        Interrupted, match=r"interrupted; 3 of 4 problems are done .* run the same command again"
    ) as error:
        run(tmp_path, fake.interrupt_at_last)
    assert error.value.exit_code == 130
    lines = (tmp_path / NAME).read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 3
    records, ran = run(tmp_path, fake.run)
    assert len(ran) == 1
    assert len(records) == 4


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    run(tmp_path, fake.run)
    path = tmp_path / NAME
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    _, ran = run(tmp_path, fake.run)
    assert len(ran) == 1
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 4


def test_unreadable_lines_are_run_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('nonsense\n{"fingerprint": "1", "record": "{}"}\n[]\n')
    _, ran = run(tmp_path, fake.run)
    assert len(ran) == 4


@pytest.mark.parametrize(
    "changed",
    [
        replace(SETTINGS, objective="bytes"),
        replace(SETTINGS, parameters=(("batch", 16),)),
        replace(SETTINGS, seed=1),
        replace(SETTINGS, time_limit=1.0),
    ],
)
def test_other_settings_do_not_reuse_results(tmp_path: Path, changed: Settings) -> None:
    run(tmp_path, fake.run)
    assert run(tmp_path, fake.run)[1] == []
    assert len(run(tmp_path, fake.run, changed)[1]) == 4


def test_another_isa_file_does_not_reuse_results(tmp_path: Path) -> None:
    import isa

    copy = tmp_path / "vta.toml"
    text = isa.load("vta").path.read_text()
    copy.write_text(text)
    before = fingerprints(PROBLEMS, Settings(str(copy)))
    copy.write_text(text + "# changed\n")
    after = fingerprints(PROBLEMS, Settings(str(copy)))
    assert not set(before.values()) & set(after.values())
    assert len(set(before.values())) == len(PROBLEMS)


def test_failures_are_reported_but_not_kept(tmp_path: Path) -> None:
    records, _ = run(tmp_path, fake.fail)
    assert {record.error for record in records} == {"boom"}
    assert len(run(tmp_path, fake.run)[1]) == 4


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(UserError, match="another run writes"), open_journal(tmp_path):
        pass


def test_worker_processes_have_one_blas_thread() -> None:
    tasks = [Task(problem, SETTINGS) for problem in PROBLEMS]
    found = list(LocalProcesses(2).run(fake.process, tasks))
    assert sorted(name for name, _, _ in found) == [problem.name for problem in PROBLEMS]
    assert {threads for _, threads, _ in found} == {"1"}
    assert os.getpid() not in {worker for _, _, worker in found}


def test_the_environment_of_workers_is_theirs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    workers = LocalProcesses(1, {"OPENBLAS_NUM_THREADS": "3"})
    [(_, threads, _)] = workers.run(fake.process, [Task(PROBLEMS[0], SETTINGS)])
    assert threads == "3"
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_a_dead_worker_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="a worker process died"):
        list(LocalProcesses(1).run(fake.die, [Task(PROBLEMS[0], SETTINGS)]))


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import fake\nfrom deepbench.executor import LocalProcesses\n"
        "if __name__ == '__main__':\n    list(LocalProcesses(1).run(fake.wait_long, [600.0]))\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"at work\n"
        parent.kill()
        parent.communicate(timeout=60)  # ends when the last process that holds the pipe does
