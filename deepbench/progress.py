"""The progress bar of a suite."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from embed.cli.console import error_console


def progress_bar() -> Progress:
    """On standard error; its tasks have a field `problem`, the one that was finished last."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[problem]}"),
        console=error_console(),
    )
