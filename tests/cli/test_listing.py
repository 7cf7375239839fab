"""`isa-embed embed` lists, shows and takes embeddings, and shows the solver at work."""

import json
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepbench.cli import app
from embed.cli.app import run

CONV = ["embed", "conv2d", "c=3", "h=32", "w=32", "k=20", "r=3", "s=3"]


@pytest.fixture(autouse=True)
def quiet_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "200")
    yield
    logging.getLogger("embed").handlers = []
    logging.getLogger("embed").setLevel(logging.NOTSET)


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    code = run(app, arguments)
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def listed(text: str) -> list[str]:
    return re.findall(r"^ +\d+ +(gemm\(.*?) +\d\.\d{4} ", text, re.MULTILINE)


def test_what_is_listed_can_be_shown_and_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    embeddings = listed(printed([*CONV, "--all"], capsys)[0])
    assert len(embeddings) == len(set(embeddings)) == 20
    third, _ = printed([*CONV, "--show", "3"], capsys)
    given, _ = printed([*CONV, "--embedding", embeddings[2]], capsys)
    assert embeddings[2] in third
    assert embeddings[2] in given
    assert "given, and checked" in given
    assert "loop nest\n  for n in 0..1 by 1:" in given
    assert f"isa-embed compile {' '.join(CONV[1:])} --isa vta --embedding '{embeddings[2]}' --out DIR" in given


def test_dominated_embeddings_are_more(capsys: pytest.CaptureFixture[str]) -> None:
    counts = [
        int(re.findall(r": ([\d,]+) embeddings \(complete\)", printed([*CONV, "--all", *more], capsys)[0])[0])
        for more in (["--pareto"], [], ["--dominated"])
    ]
    assert counts == sorted(set(counts))


def test_a_list_without_rewritings_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the best may be one, and nobody said which to list."""
    note, depthwise = "rewritings are not listed: --relax all", ["embed", "depthwise_conv2d", "c=8", "h=6", "w=6"]
    depthwise += ["r=3", "s=3"]
    assert note in printed([*depthwise, "--all"], capsys)[1]
    assert note in printed([*depthwise, "--pareto"], capsys)[1]
    assert note not in printed([*depthwise, "--all", "--relax", "none"], capsys)[1]
    assert note not in printed([*depthwise, "--show", "1"], capsys)[1]
    assert note not in printed([*depthwise, "--all", "--isa", "avx512", "--dtype", "f32"], capsys)[1]
    assert note not in printed(["embed", "gemm", "m=8", "n=8", "k=8", "--all"], capsys)[1]


def test_the_first_is_an_embedding(capsys: pytest.CaptureFixture[str]) -> None:
    assert "FEASIBLE" in printed([*CONV, "--first"], capsys)[0]


def test_each_level_tells_more(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [printed([*CONV, *more], capsys)[1] for more in ([], ["-v"], ["-vv"], ["-vvv"])]
    assert texts[0] == ""
    assert "gemm: out->acc inp->inp wgt->wgt\n    o, 16 lanes: k\n    i, 16 lanes: c, r, s\n" in texts[1]
    assert re.search(r"cycles: OPTIMAL in \d", texts[2])
    assert "Starting CP-SAT solver" in texts[3]
    assert sorted(texts, key=len) == texts


def test_the_model_is_written_as_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    printed([*CONV, "--dump-model", str(tmp_path / "model.pbtxt"), "--relax", "none"], capsys)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model-2.pbtxt", "model.pbtxt"]
    assert 'name: "member o k k"' in (tmp_path / "model.pbtxt").read_text()


def test_parameters_of_the_solver(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    words = ["--solver-params", "stop_after_first_solution=true", "--solver-params", "random_seed=7"]
    printed([*CONV, *words, "--json", str(path)], capsys)
    assert json.loads(path.read_text())["status"] == "FEASIBLE"


SHOWN = [
    "conv2d c=8 k=8 h=6 w=6 r=1 s=1 groups=2 --isa vta --epilogue shift=3,bias,relu --layout inp=NHWC --relax all",
    "depthwise_conv2d n=1 c=9 h=7 w=6 r=3 s=3 pad=1 --isa edge --layout inp=NHWC --layout wgt=KRSC",
    "gemm m=17 n=9 k=33 --isa gemmini --set dim=4 --layout a=CR --layout b=CR16c --relax none",
]


@pytest.mark.parametrize("asked", SHOWN)
def test_the_command_that_is_printed_compiles_what_is_shown(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On one line, however long, as a shell takes it."""
    monkeypatch.setenv("COLUMNS", "100")
    lines = printed(["embed", *shlex.split(asked), "--show", "2"], capsys)[0].splitlines()
    shown = lines[next(n for n, line in enumerate(lines) if line.startswith("on ")) + 2].strip()
    program, *arguments = shlex.split(lines[lines.index("compiled by") + 1])
    assert program == "isa-embed"
    assert shown in printed([*arguments[:-1], str(tmp_path / "out")], capsys)[0].splitlines()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("gemm m=17 n=9 k=33 --isa avx2 --dtype f32 --relax all", "kernels for avx2 rewrite no operator"),
        ("gemm m=17 n=9 k=33 --isa mma_sync --epilogue relu", "no element-wise 'shr' for the epilogue"),
    ],
)
def test_what_nothing_compiles_says_so(asked: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = printed(["embed", *shlex.split(asked)], capsys)
    assert "compiled by" not in text
    assert said in text.splitlines()[-1]
