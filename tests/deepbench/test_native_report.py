"""Tables and page of CPU runs from records that are made up."""

from html.parser import HTMLParser

import native_fake
import pytest
from rich.console import Console

from deepbench.native import page as native_page
from deepbench.native.causes import cause
from deepbench.native.table import grouped, print_native, summary, worst
from deepbench.problems import select

PROBLEMS = [*select(["inference_server"], only=["conv/00"]), *select(["inference_server"], only=["gemm/00"])]
ROWS = [
    (problem, native_fake.record(problem, share=0.9 - 0.04 * place, ratio=0.5 + 0.1 * place))
    for place, problem in enumerate(PROBLEMS)
]
RECORDS = [record for _, record in ROWS]


def test_every_problem_and_every_mean_is_there() -> None:
    console = Console(width=240)
    with console.capture() as captured:
        print_native(console, ROWS, wall=3.0)
    text = captured.get()
    for title in grouped(ROWS):
        assert text.count(title) >= 2
    assert "the twenty worst" in text
    assert text.count("vfmadd231ps(a->a, b->b) l=m:16") == len(ROWS)
    assert "absent: not here (20 problems, first inference_server/conv/000)" in text


def test_losses_stand_beside_wins() -> None:
    page = native_page.page(RECORDS)
    losses = sum((record.ratio or 0) < 1 for record in RECORDS)
    assert f"{len(RECORDS) - losses} wins, {losses} losses" in page


def test_what_threads_gain_is_said_where_there_are_several() -> None:
    rows = [(PROBLEMS[0], native_fake.record(PROBLEMS[0], 2, speedup=gain)) for gain in (1.5, 1.6, 2.4)]
    console = Console(width=240)
    with console.capture() as captured:
        print_native(console, rows, wall=3.0)
    assert "1.79, median 1.60" in captured.get()
    assert "1.79" in native_page.page([record for _, record in rows])


def test_the_worst_come_first() -> None:
    """Products of few columns count by what they reach of the bandwidth, here a half."""
    reached = [0.5 if record.group == "gemm n<=4" else record.share or 0.0 for record in RECORDS]
    order = sorted(range(len(RECORDS)), key=lambda place: reached[place])[:20]
    assert worst(RECORDS) == [RECORDS[place] for place in order]


def test_causes_are_sorted_and_say_what_is_left() -> None:
    record = native_fake.record(PROBLEMS[0], share=0.28)
    assert cause(record) == "edges 0.70, idle lanes 0.80, the rest 0.50"


def test_summary_names_what_is_wrong() -> None:
    problem = PROBLEMS[0]
    records = [
        native_fake.record(problem, checked=False),
        native_fake.record(problem, checked=None, error="no instruction fits", executed="no", peers=[]),
    ]
    lines = list(summary(records, 1.0))
    assert f"{problem.name}: the result differs from the reference" in lines
    assert f"{problem.name}: no instruction fits" in lines


class _Page(HTMLParser):
    """Counts tags, checks that they close, and collects addresses."""

    VOID = ("meta", "i")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.remove(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone() -> None:
    page = _Page()
    page.feed(native_page.page(RECORDS))
    assert page.open == []
    assert page.addresses == []
    assert page.counts["svg"] == 2
    assert page.counts["circle"] == len(RECORDS)
    assert page.counts["rect"] == len(RECORDS)


def test_a_page_without_results() -> None:
    blank = native_fake.record(PROBLEMS[0], share=None, seconds=None, ratio=None, checked=None, error="<none> & no")
    assert "&lt;none&gt; &amp; no" in native_page.page([blank])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_have_groups_of_their_own(threads: int) -> None:
    rows = [(problem, native_fake.record(problem, threads)) for problem in PROBLEMS]
    assert all(title.endswith(f"{threads} thread{'s' * (threads > 1)}") for title in grouped(rows))
