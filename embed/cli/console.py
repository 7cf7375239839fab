"""Where tables and progress bars are drawn."""

import logging
import os
import sys
from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from embed.solver.settings import MODELS

_LEVELS = (logging.INFO, MODELS, logging.DEBUG)
_WIDE = 200
"""Columns where the output is a file or a pipe, so that a wide table keeps one line per row."""


def wide_console(least: int = 100) -> Console:
    """Standard output: as wide as COLUMNS says or the terminal is, but at least `least` columns.

    A terminal's wrapped lines read better than table columns of three letters.
    """
    if "COLUMNS" not in os.environ and not sys.stdout.isatty():
        return Console(width=_WIDE)
    found = Console()
    return found if found.width >= least else Console(width=least)


def error_console() -> Console:
    """Standard error, for progress that is not part of the result."""
    return Console(stderr=True)


def say_stages(level: int) -> None:
    """Let each stage of the work tell on standard error what it does; a higher level adds one more stage."""
    if level:
        log = logging.getLogger("embed")
        log.handlers = [logging.StreamHandler(sys.stderr)]
        log.setLevel(_LEVELS[min(level, len(_LEVELS)) - 1])


def new_table(title: str, *columns: str, right: Collection[str] = (), footer: bool = False) -> Table:
    """A table in the look of all; columns named in `right` hold numbers. Without columns it has no header."""
    heading = Text(title, style="bold") if title else None
    table = Table(title=heading, title_justify="left", box=box.SIMPLE, show_header=bool(columns), pad_edge=False)
    table.show_footer = footer
    for column in columns:
        numeric = column in right
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    return table
