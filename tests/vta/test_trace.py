"""The picture of a timed run: every instruction once, in time, and nothing from elsewhere."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

import embed
import isa
from dataflow import UserError, conv2d, requantise
from embed.cli.app import app
from embed.cli.trace import check_ending, chrome, page, spans, timeline, write_trace
from embed.vta.engines import Engine

OPERATOR = requantise(conv2d(c=32, h=14, w=14, k=32, r=3, s=3, pad=1), bias=True)
KERNEL = embed.compile(OPERATOR, isa.load("vta"))
REPORT = KERNEL.timing()
SPANS = spans(KERNEL.code, KERNEL.machine, REPORT)


def test_events_are_the_instructions() -> None:
    data = json.loads(chrome("title", SPANS, REPORT))
    events = [event for event in data["traceEvents"] if event["ph"] == "X"]
    assert [event["name"] for event in events] == [one.name for one in KERNEL.code.instructions]
    assert max(event["ts"] + event["dur"] for event in events) == REPORT.cycles
    for engine, spent in REPORT.engines.items():
        own = sorted((e["ts"], e["dur"]) for e in events if e["tid"] == engine + 1)
        assert len(own) == spent.instructions
        assert all(ts + dur <= after for (ts, dur), (after, _) in pairwise(own))
    assert {e["args"]["name"] for e in data["traceEvents"] if e["ph"] == "M"} == {"load", "compute", "store"}


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        assert tag not in ("script", "link", "img", "iframe")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_its_bars_cover_what_was_busy() -> None:
    text = page("a < b", SPANS, REPORT)
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert "http" not in text
    assert "a &lt; b" in text
    whole = timeline(SPANS, 0, REPORT.cycles)
    assert whole in text
    drawn = [float(width) for width in re.findall(r'<rect x="[^"]+" y="44" width="([^"]+)"', whole)]
    busy = sum(span.end - span.start for span in SPANS if span.engine is Engine.COMPUTE)
    assert sum(drawn) == pytest.approx(busy / REPORT.cycles * 1024, rel=0.05)
    counts = [REPORT.engines[engine].instructions for engine in (Engine.LOAD, Engine.COMPUTE, Engine.STORE)]
    assert "<td>instructions</td>" + "".join(f'<td class="n">{count:,}</td>' for count in counts) in text


def test_files_by_their_ending(tmp_path: Path) -> None:
    for name in ("t.html", "t.json"):
        write_trace(tmp_path / name, "t", KERNEL.code, KERNEL.machine, REPORT)
        assert (tmp_path / name).stat().st_size > 1000
    with pytest.raises(UserError, match=r"does not end in \.html or \.json"):
        check_ending(tmp_path / "t.svg")


def test_the_command_draws_a_bundle(tmp_path: Path) -> None:
    KERNEL.save(tmp_path / "bundle")
    done = CliRunner().invoke(app, ["run", str(tmp_path / "bundle"), "--trace", str(tmp_path / "t.json")])
    assert done.exit_code == 0, done.output
    assert len(json.loads((tmp_path / "t.json").read_text())["traceEvents"]) == len(KERNEL.code.instructions) + 3
