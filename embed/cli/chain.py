"""`isa-embed chain`: the embeddings of a chain of operators and the layouts between them, chosen together."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dataflow import Operator, UserError
from embed.chain import Chain, Plan, plan
from embed.cli.asked import AskedIsa
from embed.cli.console import new_table, wide_console
from embed.cli.files import check_writable, write_json_lines
from embed.cli.groups import grouped
from embed.cli.operators import read_operator
from embed.cli.options import JsonFile, TimeLimit

_KEYS = ("name", "op", "expr", "dtype", "epilogue", "input")

File = Annotated[
    Path, typer.Argument(metavar="FILE.toml", help="the operators, one \\[\\[operator]] each, in their order")
]
Given = Annotated[
    str | None, typer.Option("--given", metavar="LAYOUT", help="on a CPU: how the first input lies", show_default=False)
]
Wanted = Annotated[
    str | None,
    typer.Option("--wanted", metavar="LAYOUT", help="on a CPU: how the last output lies", show_default=False),
]


@grouped
def chain_command(
    file: File,
    isa: AskedIsa,
    given: Given = None,
    wanted: Wanted = None,
    time_limit: TimeLimit = 10.0,
    json: JsonFile = None,
) -> None:
    """Choose the embeddings of a chain and the layouts between them in one model, and say what is still repacked."""
    check_writable(json)
    names, chain = read_chain(file)
    target = isa.load()
    layouts = (given, wanted) if given or wanted else None
    found = plan(chain, target, layouts=layouts, time_limit=time_limit)
    if json:
        write_json_lines(json, [row(names, found)])
    console = wide_console()
    console.print(chain_table(names, found))
    saved = 1 - found.cycles / found.greedy if found.greedy else 0.0
    console.print(
        f"{found.cycles:,} cycles, {found.status} in {found.seconds * 1000:.0f} ms; "
        f"one operator after the other: {found.greedy:,} ({saved:.1%} saved)",
        highlight=False,
    )


def read_chain(file: Path) -> tuple[list[str], Chain]:
    """The names and the chain that a file describes; raises UserError with the place of a mistake."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot read it: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: is not TOML: {error}") from None
    rows = content.get("operator")
    if not isinstance(rows, list) or not rows or set(content) != {"operator"}:
        raise UserError(f"{file}: write one [[operator]] for each operator, and nothing else")
    names, operators = [], []
    for number, each in enumerate(rows, 1):
        try:
            operators.append(_operator(each))
        except UserError as error:
            raise UserError(f"{file}: operator {number}: {error}") from None
        names.append(str(each.get("name", operators[-1].name)))
    try:
        return names, Chain.of(operators, [each.get("input") for each in rows])
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def _operator(each: dict[str, Any]) -> Operator:
    for key, value in each.items():
        if key not in _KEYS:
            raise UserError(f"there is no key '{key}'; there are: {', '.join(_KEYS)}")
        if not isinstance(value, str):
            raise UserError(f"{key} is text in quotes, not {value}")
    epilogue = each.get("epilogue", "none")
    return read_operator([each.get("op", "")], expr=each.get("expr"), dtype=each.get("dtype"), epilogue=epilogue)


def chain_table(names: list[str], found: Plan) -> Table:
    """One row for each operator, and one for what is done to the tensor between two."""
    table = new_table("", "operator", "embedding", "reads", "writes", "cycles", right=["cycles"])
    for name, option, cycles in zip(names, found.options, found.repacks, strict=False):
        if cycles:
            table.add_row("", "repack", "", Text(option.given.name), f"{cycles:,}", style="yellow")
        embedding = Text(str(option.embedding))
        table.add_row(name, embedding, Text(option.given.name), Text(option.made.name), f"{option.cycles:,}")
    if found.repacks[-1]:
        table.add_row("", "repack", Text(found.options[-1].made.name), "", f"{found.repacks[-1]:,}", style="yellow")
    return table


def row(names: list[str], found: Plan) -> dict[str, object]:
    """The plan as one JSON object."""
    return {
        "operators": names,
        "embeddings": [str(option.embedding) for option in found.options],
        "reads": [option.given.name for option in found.options],
        "writes": [option.made.name for option in found.options],
        "cycles": [option.cycles for option in found.options],
        "repacks": list(found.repacks),
        "total": found.cycles,
        "greedy": found.greedy,
        "status": found.status,
        "seconds": found.seconds,
    }
