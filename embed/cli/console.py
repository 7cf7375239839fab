"""Where tables and progress bars are drawn."""

import os
import sys
from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 200
"""Columns where the output is a file or a pipe, so that a wide table keeps one line per row."""


def wide_console() -> Console:
    """Standard output: as wide as the terminal or as COLUMNS says, or wide enough for any table."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else _WIDTH)


def error_console() -> Console:
    """Standard error, for progress that is not part of the result."""
    return Console(stderr=True)


def new_table(title: str, *columns: str, right: Collection[str] = (), footer: bool = False) -> Table:
    """A table in the look of all; columns named in `right` hold numbers. Without columns it has no header."""
    heading = Text(title, style="bold") if title else None
    table = Table(title=heading, title_justify="left", box=box.SIMPLE, show_header=bool(columns), pad_edge=False)
    table.show_footer = footer
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table
