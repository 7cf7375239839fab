"""The written rules of style, as tests: ruff, mypy, short functions, imports that run one way."""

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("dataflow", "isa", "embed", "deepbench")
LONGEST = 50


def sources() -> list[Path]:
    return sorted(file for layer in LAYERS for file in (ROOT / layer).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield node.module or ""


@pytest.mark.parametrize("command", [("ruff", "check", "--quiet", "."), ("mypy",)], ids=lambda command: command[0])
def test_tools_have_nothing_to_say(command: tuple[str, ...]) -> None:
    found = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_imports_run_one_way() -> None:
    wrong = []
    for file in sources():
        here = LAYERS.index(file.relative_to(ROOT).parts[0])
        for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            top = name.partition(".")[0]
            if top in LAYERS and LAYERS.index(top) > here:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert wrong == []


def modules() -> dict[str, Path]:
    names = {file: file.relative_to(ROOT).with_suffix("").parts for file in sources()}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): file for file, parts in names.items()}


def uses(file: Path, known: Collection[str]) -> Iterator[str]:
    """The modules of ours that a file imports, in its functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (part if part in known else str(node.module) for part in parts if node.module in known)


def test_no_modules_import_each_other() -> None:
    """A circle of imports is two subjects that are one, or one that lies in the wrong module."""
    files = modules()
    graph = nx.DiGraph((name, used) for name, file in files.items() for used in uses(file, files) if used != name)
    assert [sorted(ring) for ring in nx.strongly_connected_components(graph) if len(ring) > 1] == []


def folders() -> list[str]:
    return sorted({f"{file.parent.relative_to(ROOT)}/" for file in sources()})


def test_the_map_names_every_folder() -> None:
    """docs/architecture.md has a row for each folder and names no other; its picture shows the upper ones."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([\w/]+/)` \|", text, re.MULTILINE))
    assert sorted(rows) == folders(), "add the folder to the table of docs/architecture.md"
    picture = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    upper = [folder for folder in folders() if folder.count("/") <= 2]
    missing = [folder for folder in upper if f"{folder.split('/')[-2]}/" not in picture]
    assert missing == [], "draw the folder in docs/architecture.svg"


def test_only_one_folder_talks_to_the_solver() -> None:
    users = [file for file in sources() if any(n.startswith("ortools") for n in imported(ast.parse(file.read_text())))]
    assert [file for file in users if (ROOT / "embed" / "solver") not in file.parents] == []


def test_functions_are_short() -> None:
    long = []
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > LONGEST:
                    long.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}: {size} lines")
    assert long == []


def test_modules_say_what_they_are() -> None:
    silent = [file for file in sources() if file.stat().st_size and not ast.get_docstring(ast.parse(file.read_text()))]
    assert [str(file.relative_to(ROOT)) for file in silent] == []
