"""The page of a plan in headless Chromium: every addend of an instruction does what the packed operands say."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataflow
import embed
import isa
from dataflow import Operator
from dataflow.expression import Const
from embed.cli.app import app, run
from embed.inspect.page import page
from embed.inspect.plan_data import plan_data, shown_steps
from embed.nodes.pack import pack
from embed.nodes.plan import Step

COMPLEX = "c[i,j,0] += i32(a[i,k,0])*i32(b[k,j,0])-i32(a[i,k,1])*i32(b[k,j,1]); \
c[i,j,1] += i32(a[i,k,0])*i32(b[k,j,1])+i32(a[i,k,1])*i32(b[k,j,0])"
CHAIN = "t[i,j] = x[i,j] + y[j]; u[i,j] = max(t[i,j], 0); v[i,j] = u[i,j] >> 3"


def planned(text: str, dtype: str, target: str, **sizes: int) -> embed.Plan:
    operator = Operator("expr", dataflow.infer_all(text.split(";"), sizes, dtype), tuple(sizes.items()))
    return embed.plan(operator, isa.load(target))


def opened(browser: Any, tmp_path: Path, plan: embed.Plan, limit: int, said: list[str]) -> Any:
    path = tmp_path / "plan.html"
    path.write_text(page(plan_data(plan, limit, "isa-embed run it")), encoding="utf-8")
    tab = browser.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    tab.goto(path.as_uri())
    return tab


@pytest.mark.parametrize(
    ("text", "dtype", "target", "sizes"),
    [
        (COMPLEX, "i8:i32", "sve2", {"i": 5, "j": 3, "k": 5}),
        (CHAIN, "i16:i16", "c66x", {"i": 3, "j": 5}),
        ("c[i,j] += a[i,k]*b[k,j]", "i16:i32", "avx2", {"i": 3, "j": 9, "k": 5}),
        ("y[0,j] = z[j] + t[j]; y[1,j] = z[j] - t[j]", "i32:i32", "c66x", {"j": 5}),
    ],
)
def test_the_script_computes_what_python_packs(
    text: str, dtype: str, target: str, sizes: dict[str, int], browser: Any, tmp_path: Path
) -> None:
    """Elements, word and place of every operand of every addend and lane, at invocations spread over the step."""
    plan = planned(text, dtype, target, **sizes)
    said: list[str] = []
    tab = opened(browser, tmp_path, plan, 6, said)
    for number, step in enumerate(shown_steps(plan, 6)):
        for place in range(0, step.invocations, max(1, step.invocations // 4)):
            assert tab.evaluate(SCRIPT, [number, place]) == expected(step, place)
    tab.close()
    assert said == []


SCRIPT = """([number, step]) => {
  const alternative = data.alternatives[number], origin = originOf(alternative, step);
  return lanesOf(alternative).map(lane => {
    const at = point(alternative, origin, lane);
    return at && operandsOf(alternative, lane).map(operand => "literal" in operand ? [operand.operand, operand.literal]
      : [operand.operand, element(operand, at), wordNumber(operand, word(operand, origin)), inWord(operand, lane)]);
  });
}"""


def expected(step: Step, number: int) -> list[object]:
    """What each addend does at each lane, from the placement's points; where, from packing tensors of numbers."""
    placement = step.placement
    sizes = [loop.extent for loop in placement.loops]
    at = dict(zip([loop.name for loop in placement.loops], np.unravel_index(number, sizes), strict=True))
    origin = {name: np.array([value]) for name, value in at.items()}
    extents = placement.pattern.extents
    found: list[object] = []
    for lanes in product(*(range(extent) for extent in extents.values()), range(len(placement.images))):
        image = placement.images[lanes[-1]]
        point, idle = placement.points(image, origin)
        place = (0, *lanes[:-1])
        if idle[place]:
            found.append(None)
            continue
        own_point = dict(zip(extents, lanes[:-1], strict=True))
        held_point = {dim: int(value[place]) for dim, value in point.items()}
        row = []
        for own, held in placement.uses(image):
            if isinstance(held, Const):
                row.append([own.tensor, str(held.value)])
                continue
            dims = {dim: held_point.get(dim, 0) for index in held.index for dim in index.dims}
            element = [index.evaluate(dims) for index in held.index]
            shape = placement.pattern.tensors[own.tensor].shape
            where = [index.evaluate(own_point) for index in own.index]
            inner = int(np.ravel_multi_index(where, shape)) if shape else 0
            word = 0
            for loop in placement.loops_of(own.tensor):
                word = word * loop.extent + int(at[loop.name])
            assert stored(step, own.tensor, held.tensor, word, inner) == tuple(element)
            row.append([own.tensor, element, word, inner])
        found.append(row)
    return found


def stored(step: Step, operand: str, tensor: str, word: int, inner: int) -> tuple[int, ...]:
    """Which element of a tensor `pack` puts there: it is the one that stands out."""
    placement = step.placement
    tensors = {each.name: each for statement in placement.operator.statements for each in statement.tensors}
    elements = list(np.ndindex(*tensors[tensor].shape))
    arrays = {name: np.zeros(each.shape, np.int64) for name, each in tensors.items()}
    digits = []
    for bit in range(max(1, len(elements).bit_length())):
        arrays[tensor] = ((np.arange(len(elements)) >> bit) & 1).reshape(tensors[tensor].shape)
        digits.append(int(pack(placement, operand, arrays)[word].reshape(-1)[inner]) << bit)
    return tuple(map(int, elements[sum(digits)]))


def test_choosing_a_placement_changes_the_picture(browser: Any, tmp_path: Path) -> None:
    plan = planned(COMPLEX, "i8:i32", "sve2", i=5, j=3, k=5)
    said: list[str] = []
    tab = opened(browser, tmp_path, plan, 20, said)
    assert (
        tab.locator("#count").inner_text()
        == f"20 of {len(plan.every)} placements, complete; numbers 1 to 2 are the plan"
    )
    assert tab.locator("#chosen").inner_text() == f"1: {plan.steps[0]}"
    assert "does c[i,j,0] -= " in tab.locator("#pattern").inner_text()
    assert tab.locator("#action").inner_text() == "Run the plan"
    before = tab.locator("#sentence").inner_text()
    tab.locator("#alternatives tbody tr").nth(1).click()
    assert tab.locator("#chosen").inner_text() == f"2: {plan.steps[1]}"
    sentence = tab.locator("#sentence").inner_text()
    tab.keyboard.press("ArrowRight")
    assert len({before, sentence, tab.locator("#sentence").inner_text()}) == 3
    assert "It adds to c[" in tab.locator("#sentence").inner_text()
    assert tab.locator("#tensors figure").count() == 3
    tab.set_viewport_size({"width": 360, "height": 640})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.close()
    assert said == []


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.html"
    words = ["--expr", "c[i] = max(a[i]+b[i], 0)", "i=9", "--dtype", "i16:i16", "--isa", "hexagon"]
    assert run(app, ["inspect", *words, "--html", str(path), "--limit", "3"]) == 0
    assert capsys.readouterr().out.startswith("expr i=9: 3 of ")
    assert "isa-embed run i=9 --isa hexagon --expr" in path.read_text(encoding="utf-8")
