"""The page of alternatives in headless Chromium: it works without errors, and says what the Python code does."""

from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embed
import isa
from dataflow import conv2d, depthwise_conv2d, gemm
from embed import layout
from embed.cli.app import app, run
from embed.copies import copies
from embed.embedding import Embedding
from embed.inspect.data import page_data
from embed.inspect.page import page

SMALL = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 8192, "wgt_bytes": 16384, "acc_bytes": 32768})
DEPTHWISE = depthwise_conv2d(c=3, h=5, w=5, r=2, s=2)
CONV = conv2d(c=3, h=9, w=9, k=6, r=3, s=3, stride=2, pad=1)


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The page of a small convolution, whose console must stay silent."""
    found = embed.alternatives(CONV, SMALL)
    shown = list(found)
    path = tmp_path / "page.html"
    path.write_text(page(page_data(found, shown, [f"compile {one.embedding}" for one in shown])), encoding="utf-8")
    tab = browser.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    tab.goto(path.as_uri())
    yield tab
    tab.close()
    assert said == []


def test_the_data_says_what_is_packed_twice_and_what_is_not_listed() -> None:
    found = embed.alternatives(CONV, SMALL)
    data = page_data(found, list(found), ["compile"] * len(found), "rewritings are not listed")
    assert data["heading"] == f"{len(found)} of {len(found)} embeddings, complete, rewritings are not listed"
    for one, shown in zip(found, data["alternatives"], strict=True):
        said = dict(zip(layout.derive(one.embedding), shown["layouts"], strict=True))
        for name in one.embedding.inputs:
            assert ("of them copies" in said[name]) == (copies(one.embedding, name) > 0)


def test_choosing_an_alternative_changes_the_picture(opened: Any) -> None:
    rows = opened.locator("#alternatives tbody tr")
    assert rows.count() == len(embed.alternatives(CONV, SMALL))
    before = opened.locator("#lanes").inner_html()
    rows.nth(4).click()
    assert opened.locator("#lanes").inner_html() != before
    chosen = rows.nth(4).locator("td").nth(1).inner_text()
    assert opened.locator("#chosen").inner_text() == f"5: {chosen}"
    assert chosen in opened.locator("#command").inner_text()
    assert "gemm acc=out[" in opened.locator("#nest").inner_text()
    opened.locator("#front circle").last.click(force=True)
    assert opened.locator("#chosen").inner_text() != f"5: {chosen}"


def test_the_keyboard_moves_lanes_and_invocations(opened: Any) -> None:
    first = opened.locator("#sentence").inner_text()
    opened.keyboard.press("ArrowRight")
    moved = opened.locator("#sentence").inner_text()
    assert "i=1 does the point" in moved
    opened.keyboard.press("n")
    assert opened.locator("#sentence").inner_text() != moved
    opened.keyboard.press("p")
    opened.keyboard.press("ArrowLeft")
    assert opened.locator("#sentence").inner_text() == first


def test_columns_sort(opened: Any) -> None:
    opened.locator("#alternatives th", has_text="bytes").click()
    values = [int(text.replace(",", "")) for text in opened.locator("#alternatives td:nth-child(6)").all_inner_texts()]
    assert values == sorted(values)


def test_it_fits_a_small_screen(opened: Any) -> None:
    opened.set_viewport_size({"width": 360, "height": 640})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_script_computes_what_python_does(opened: Any) -> None:
    """Points, elements and places in packed words, at invocations spread over every alternative."""
    agrees(opened, list(embed.alternatives(CONV, SMALL)))


def test_rewritten_operators_are_drawn_too(browser: Any, tmp_path: Path) -> None:
    """A Toeplitz matrix and blocks on the diagonal: added points are idle, the others have the user's elements."""
    found = embed.alternatives(DEPTHWISE, SMALL, relax="toeplitz,blocks")
    shown = [solution for solution in found if solution.embedding.relaxed][::7]
    assert {"toeplitz", "blocks"} <= {step.kind for one in shown for step in one.embedding.relaxed.steps}
    path = tmp_path / "page.html"
    path.write_text(page(page_data(found, shown, [""] * len(shown))), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(path.as_uri())
    agrees(tab, shown)
    tab.close()


def agrees(opened: Any, shown: list[embed.Solution]) -> None:
    for number, solution in enumerate(shown):
        embedding = solution.embedding
        for step in range(0, embedding.invocations, max(1, embedding.invocations // 5)):
            assert opened.evaluate(SCRIPT, [number, step]) == expected(embedding, step)


SCRIPT = """([number, step]) => {
  const alternative = data.alternatives[number], origin = originOf(alternative, step);
  return lanesOf(alternative).map(lane => {
    const at = point(alternative, origin, lane);
    return at && operandsOf(alternative, lane).map(operand => {
      const place = element(operand, at);
      const stored = wordNumber(operand, word(operand, origin));
      return [operand.access, place, stored, inWord(operand, lane)];
    });
  });
}"""


def expected(embedding: Embedding, step: int) -> list[object]:
    """What each lane of an invocation does, from `phi`; and where `pack` puts its elements, found by their values."""
    sizes = [loop.extent for loop in embedding.loops]
    origin: dict[str, Any] = dict(
        zip([loop.name for loop in embedding.loops], np.unravel_index(step, sizes), strict=True)
    )
    packs = layout.derive(embedding)
    found: list[object] = []
    for values in product(*(range(extent) for extent in embedding.lanes.values())):
        lanes = {lane: np.array(value) for lane, value in zip(embedding.lanes, values, strict=True)}
        at, idle = embedding.points(origin, lanes)
        if idle or (embedding.relaxed and not embedding.relaxed.back(at)[1]):
            found.append(None)
            continue
        point = {dim: int(value) for dim, value in at.items()}
        row = []
        for operand, name in embedding.binding.pairs:
            read, packed = embedding.accesses[name], packs[name]
            place = [index.evaluate(point) for index in read.index]
            lane = [values[list(embedding.lanes).index(each)] for each in packed.word_lanes]
            inner = int(np.ravel_multi_index(lane, packed.word_shape))
            row.append([name, place, stored_word(packed, place, inner, origin), inner])
            assert embedding.binding.operands[name] == operand
        found.append(row)
    return found


def stored_word(packed: layout.Layout, place: list[int], inner: int, origin: dict[str, Any]) -> int | None:
    """The number of the word that holds an element at `inner`, None for padding that no word holds."""
    where = [sum(f * int(origin[loop]) for loop, f in axis.loops) - axis.before for axis in packed.axes]
    extents = [axis.extent for axis in packed.axes]
    if any(not 0 <= at < extent for at, extent in zip(where, extents, strict=True)):
        return None
    number = int(np.ravel_multi_index(where, extents)) if extents else 0
    shape = packed.tensor.shape
    numbered = np.arange(1, prod(shape) + 1, dtype=np.int64).reshape(shape)
    words = packed.gather.pack(numbered, np.dtype(np.int64)).reshape(-1, prod(packed.word_shape))
    inside = all(0 <= at < extent for at, extent in zip(place, shape, strict=True))
    assert words[number, inner] == (numbered[tuple(place)] if inside else 0)
    return number


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str], browser: Any) -> None:
    path = tmp_path / "gemm.html"
    assert (
        run(app, ["inspect", "gemm", "m=5", "n=6", "k=7", "--set", "batch=1", "--html", str(path), "--limit", "2"]) == 0
    )
    assert capsys.readouterr().out == f"{gemm(m=5, n=6, k=7).title}: 2 of 2 embeddings in {path}\n"
    tab = browser.new_page()
    tab.goto(path.as_uri())
    command = tab.locator("#command").inner_text()
    assert command.startswith("isa-embed compile gemm m=5 n=6 k=7 --isa vta --set batch=1 --embedding 'gemm(")
    tab.close()
