"""The code blocks of README.md run, and print what README says.

- ```python: executed, all in one namespace; a ```text block right after it is what it prints.
- ```console: every `$ isa-embed ...` is executed and prints what follows it; `$ make TARGET` needs such a target.
- ```toml: written to the file that its first line names in a comment.
- `<!-- not run: reason -->` before a block leaves it out: what takes minutes, or the network.
- a line `...` stands for any lines; times are compared as `N ms` and `N s`.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?P<skip><!-- not run: [^>]+ -->\s*)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
TIME = re.compile(r"\d+(\.\d+)? (ms|s)\b")
SPACES = re.compile(r"[ ─━]+")
WIDTH = "110"


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    skip: bool
    line: int


def blocks(text: str) -> list[Block]:
    found = BLOCK.finditer(text)
    return [Block(m["kind"], m["text"], bool(m["skip"]), text[: m.start("kind")].count("\n") + 1) for m in found]


def plain(text: str) -> list[str]:
    """Lines without what changes from run to run: times, and the column widths that follow from them."""
    return [SPACES.sub(" ", TIME.sub(r"N \2", line)).strip() for line in text.strip().splitlines()]


def agrees(shown: list[str], printed: list[str]) -> bool:
    """Whether the printed lines are those shown, where `...` stands for any lines."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(agrees(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and agrees(shown[1:], printed[1:])


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """Each `$ command` of a console block (a final backslash goes on) and what it prints."""
    for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def run_command(command: str, folder: Path) -> str:
    words = shlex.split(command)
    assert words[0] == "isa-embed", f"not a command that a README test can run: {command}"
    program = [sys.executable, "-c", "from deepbench.cli import main; main()", *words[1:]]
    environment = {**os.environ, "COLUMNS": WIDTH, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def check_console(block: Block, folder: Path) -> None:
    for command, shown in sessions(block.text):
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        elif not block.skip:
            printed = run_command(command, folder)
            assert not shown.strip() or agrees(plain(shown), plain(printed)), (
                f"README.md:{block.line}: {command}\n{printed}"
            )


def check_python(block: Block, expected: str | None, namespace: dict[str, object]) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, f"README.md:{block.line}", "exec"), namespace)
    if expected is not None:
        assert agrees(plain(expected), plain(printed.getvalue())), (
            f"README.md:{block.line} printed\n{printed.getvalue()}"
        )


def check(text: str, folder: Path) -> None:
    """Run all blocks of a document in a folder."""
    found = blocks(text)
    namespace: dict[str, object] = {"__name__": "readme"}
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.kind == "toml":
            (folder / block.text.splitlines()[0].removeprefix("# ")).write_text(block.text)
        elif block.kind == "console":
            check_console(block, folder)
        elif block.kind == "python" and not block.skip:
            check_python(block, after.text if after and after.kind == "text" else None, namespace)


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    kinds = {block.kind for block in blocks(text)}
    assert {"console", "python"} <= kinds
    check(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("```python\nx = 2\n```\nand\n```python\nprint(x + 1)\n```\n```text\n3\n```\n", False),
        ("```python\nprint(1)\n```\n```text\n2\n```\n", True),
        ("```python\nprint('a\\nb\\nc')\n```\n```text\n...\nc\n```\n", False),
        ("```python\nprint('took 3.5 ms')\n```\n```text\ntook 12 ms\n```\n", False),
        ("<!-- not run: slow -->\n```python\n1 / 0\n```\n", False),
        ("```console\n$ make test\n```\n", False),
        ("```console\n$ make coffee\n```\n", True),
        ("```console\n$ rm file\n```\n", True),
    ],
)
def test_the_mechanism(text: str, fails: bool, tmp_path: Path) -> None:
    if fails:
        with pytest.raises(AssertionError):
            check(text, tmp_path)
    else:
        check(text, tmp_path)
