"""pyproject.toml against the code: every library that is imported is declared, and none that is not."""

import ast
import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("dataflow", "isa", "embed", "deepbench")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def bounds() -> dict[str, str]:
    """Lower bound by name of the library."""
    found = [re.fullmatch(r"([\w-]+)>=([\d.]+)", text) for text in PROJECT["dependencies"]]
    assert all(found), "a dependency is NAME>=VERSION"
    return {match[1]: match[2] for match in found if match}


def imported() -> set[str]:
    names: set[str] = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - set(PACKAGES)


def extras() -> set[str]:
    """Libraries that some commands need and the core never imports."""
    found = PROJECT["optional-dependencies"]
    texts = [text for name, texts in found.items() if name != "test" for text in texts]
    return {re.split(r"[^\w-]", text)[0].replace("-", "_") for text in texts}


def test_imports_are_declared_and_declarations_used() -> None:
    assert imported() - extras() == {name.replace("-", "_") for name in bounds()}


@pytest.mark.parametrize("name", bounds())
def test_installed_versions_keep_the_bounds(name: str) -> None:
    least = [int(part) for part in bounds()[name].split(".")]
    assert [int(part) for part in version(name).split(".")[: len(least)]] >= least


def test_changelog_names_the_version() -> None:
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_files_of_tests_have_names_of_their_own() -> None:
    """pytest imports them by name alone."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)
