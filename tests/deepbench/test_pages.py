"""Every kind of page in headless Chromium: no error, nothing from elsewhere, legible on a telephone and in the dark."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fake
import native_fake
import pytest
from pages import check_page

import embed
import isa
from dataflow import conv2d, requantise
from deepbench.emulated import page as emulated_page
from deepbench.emulated.record import EmulatedRecord
from deepbench.executor import InThisProcess
from deepbench.native import page as native_page
from deepbench.pages import heatmap
from deepbench.problems import Problem, select
from deepbench.suite import DONE, Settings, Task
from deepbench.sweep import page as sweep_page
from deepbench.sweep.run import run_sweep
from deepbench.sweep.shapes import read_axes, shapes
from deepbench.vta import page as vta_page
from embed.cli.record import Record
from embed.cli.trace import write_trace

PROBLEMS = select(["inference_server"], only=["conv/00", "gemm/00"])


def records(name: str) -> list[Record]:
    """Of all kinds: near the bound and far, faster than the reference and slower, wrong."""
    return [
        fake.record(
            Task(problem, Settings(name)),
            compute_bound=900 - 40 * place,
            bus_bound=200 + 30 * place,
            reference_cycles=500 * (place + 1),
            utilisation=1 - place / 20,
            lost={"waits for loads": 60, "instruction starts": 20},
            store_cycles=950,
            checked=place != 3,
            error="" if place != 3 else "no tile fits",
        )
        for place, problem in enumerate(PROBLEMS)
    ]


def trace(path: Path) -> None:
    kernel = embed.compile(requantise(conv2d(c=32, h=14, w=14, k=32, r=3, s=3, pad=1), bias=True), isa.load("vta"))
    write_trace(path, kernel.embedding.operator.title, kernel.code, kernel.machine, kernel.timing())


def vta(path: Path) -> None:
    vta_page.write_html(path, records("vta"))


def cpu(path: Path) -> None:
    ratios = [0.5 + 0.1 * place for place in range(len(PROBLEMS))]
    rows = [native_fake.record(p, ratio=r, share=r / 3) for p, r in zip(PROBLEMS, ratios, strict=True)]
    native_page.write_html(path, rows)


def emulated(path: Path) -> None:
    def record(problem: Problem) -> EmulatedRecord:
        name, suite, title = problem.name, problem.suite, problem.operator().title
        return EmulatedRecord(name, suite, title, "neon", {}, DONE, "f32", "conv", instructions=100, macs=1000, tiles=3)

    emulated_page.write_html(path, [(problem, record(problem)) for problem in PROBLEMS], 3.0)


def machines(path: Path) -> None:
    names = ["vta", "avx512", "neon", "amx", "gemmini", "tpu_like", "rvv", "sme", "mma", "mfma"]
    heatmap.write_heatmap(path, PROBLEMS, {name: records(name) for name in names})


def sweep(path: Path) -> None:
    asked = shapes(Settings("vta"), read_axes(["block_in=8,16,32", "batch=1,4"]))

    def made_up(task: Task) -> Record:
        given = dict(task.settings.parameters)
        return fake.record(task, parameters=given, cycles=task.problem.macs // (given["block_in"] * given["batch"]))

    results, _ = run_sweep(PROBLEMS, asked, InThisProcess(), path.parent, lambda _: None, made_up)
    sweep_page.write_sweep(path, PROBLEMS, results)


INSIDE = """text => {
  const word = text.getBoundingClientRect(), picture = text.ownerSVGElement.getBoundingClientRect();
  return word.left >= picture.left - 1 && word.right <= picture.right + 1 && word.bottom <= picture.bottom + 1;
}"""

MAKERS: Sequence[Callable[[Path], None]] = (trace, vta, cpu, emulated, machines, sweep)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_page_opens_and_is_legible(make: Callable[[Path], None], browser: Any, tmp_path: Path) -> None:
    make(tmp_path / "page.html")
    tab = check_page(browser, tmp_path / "page.html")
    assert tab.locator("h1").count() == 1
    for picture in tab.locator("svg").all():
        width, height = picture.evaluate("p => [p.clientWidth, p.clientHeight]")
        assert width > 300
        assert height > 50
        for text in picture.locator("text").all():
            assert text.evaluate(INSIDE), text.inner_html()
    tab.close()


def test_a_click_puts_the_largest_number_first(browser: Any, tmp_path: Path) -> None:
    vta(tmp_path / "page.html")
    tab = check_page(browser, tmp_path / "page.html")
    whole = tab.locator("table").last
    column = whole.locator("th").all_inner_texts().index("compute bound")
    whole.locator("th").nth(column).click()
    cells = whole.locator(f"td:nth-child({column + 1})").all_inner_texts()
    values = [int(text.replace(",", "")) for text in cells]
    assert values == sorted(values, reverse=True)
    tab.close()
