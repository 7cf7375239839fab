"""One row for each of several machines: what tables of whole suites have in common."""

from collections.abc import Sequence

from deepbench.means import geomean
from deepbench.table import shown_count, shown_share
from embed.cli.record import Record

MEANS = ("problems", "optimal", "checked", "in full", "util", "worst", "invocations", "cycles", "bytes")
"""Headings of what `means` returns."""


def means(records: Sequence[Record]) -> list[str]:
    """Counts of a suite's records, and their geometric means."""
    shares = [record.utilisation for record in records if record.utilisation]
    return [
        str(len(records)),
        str(sum(record.status == "OPTIMAL" for record in records)),
        str(sum(record.checked is True for record in records)),
        str(sum(record.executed == "full" for record in records)),
        shown_share(geomean(shares)),
        shown_share(min(shares, default=None)),
        *(shown_count(geomean(getattr(record, name) for record in records)) for name in MEANS[-3:]),
    ]


def instructions(records: Sequence[Record]) -> list[str]:
    """Names of the instructions chosen, the most frequent first."""
    names = [record.embedding.partition("(")[0] for record in records if record.embedding]
    return sorted(dict.fromkeys(names), key=lambda name: -names.count(name))
