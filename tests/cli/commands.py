"""Commands as the tests run them."""

import pytest

from deepbench.cli import app
from embed.cli.app import run


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command writes that succeeds and complains of nothing."""
    code = run(app, arguments)
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out
