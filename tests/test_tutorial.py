"""The code blocks of docs/tutorial.md run, and print what it says, by the rules of test_readme."""

from pathlib import Path

import pytest

from tests.test_readme import blocks, check

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"


def test_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = TUTORIAL.read_text(encoding="utf-8")
    assert {"toml", "console", "python"} <= {block.kind for block in blocks(text)}
    check(text, tmp_path)
