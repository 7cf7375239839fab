"""Where tables and progress bars are drawn."""

import os
import sys

from rich.console import Console

_WIDTH = 200
"""Columns where the output is a file or a pipe, so that a wide table keeps one line per row."""


def wide_console() -> Console:
    """Standard output: as wide as the terminal or as COLUMNS says, or wide enough for any table."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else _WIDTH)


def error_console() -> Console:
    """Standard error, for progress that is not part of the result."""
    return Console(stderr=True)
