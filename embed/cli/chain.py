"""`isa-embed chain`: the embeddings of a chain of operators and the layouts between them, chosen together."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dataflow import Operator, UserError
from embed.chain import Chain, Copy, Flow, Plan, plan
from embed.cli.asked import AskedIsa
from embed.cli.console import new_table, wide_console
from embed.cli.files import check_writable, write_json_lines
from embed.cli.groups import grouped
from embed.cli.machines import say_note
from embed.cli.operators import read_operator, read_solver_parameters
from embed.cli.options import JsonFile, Relax, SolverParameters, TimeLimit
from embed.relax.steps import names as relaxation_names
from embed.solver import settings as solver
from embed.solver.questions import unlisted

_KEYS = ("name", "op", "expr", "dtype", "epilogue", "input", "reads")

File = Annotated[
    Path, typer.Argument(metavar="FILE.toml", help="the operators, one \\[\\[operator]] each, in their order")
]
Given = Annotated[
    str | None, typer.Option("--given", metavar="LAYOUT", help="how what enters the chain lies", show_default=False)
]
Wanted = Annotated[
    str | None,
    typer.Option("--wanted", metavar="LAYOUT", help="how what leaves the chain lies", show_default=False),
]


@grouped
def chain_command(
    file: File,
    isa: AskedIsa,
    given: Given = None,
    wanted: Wanted = None,
    relax: Relax = None,
    time_limit: TimeLimit = 10.0,
    solver_params: SolverParameters = None,
    json: JsonFile = None,
) -> None:
    """Choose the embeddings of a chain and the layouts between them in one model, and say what is still repacked."""
    check_writable(json)
    names, chain = read_chain(file)
    target = isa.load()
    layouts = {flow.name: given for flow in chain.flows if given and flow.source is None}
    layouts |= {flow.name: wanted for flow in chain.flows if wanted and flow.leaves}
    own = tuple(read_solver_parameters(solver_params or ()).items())
    search = solver.Settings(time_limit=time_limit, parameters=own, relax=relaxation_names(relax or "none"))
    found = plan(chain, target, layouts=layouts, settings=search)
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
    if relax is None and any(unlisted(operator, target, solver.Settings()) for operator in chain.operators):
        say_note("rewritings of the operators are not tried: --relax all")
    if found.status != "OPTIMAL":
        rest = f"; embeddings of {', '.join(found.left)} are left" if found.left else ""
        say_note(f"the time limit ended the search: no plan takes less than {found.bound:,} cycles{rest}")


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
    operators: dict[str, Operator] = {}
    reads: dict[str, dict[str, str]] = {}
    for number, each in enumerate(rows, 1):
        try:
            operator = _operator(each)
        except UserError as error:
            raise UserError(f"{file}: operator {number}: {error}") from None
        name = str(each.get("name", number))
        if name in operators:
            raise UserError(f"{file}: operator {number}: there is a {name} already; give it another name")
        before = next(reversed(operators), "input")
        reads[name] = each.get("reads") or {each.get("input") or operator.inputs[0].name: before}
        operators[name] = operator
    try:
        return list(operators), Chain.graph(operators, reads)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def _operator(each: dict[str, Any]) -> Operator:
    for key, value in each.items():
        if key not in _KEYS:
            raise UserError(f"there is no key '{key}'; there are: {', '.join(_KEYS)}")
        if key == "reads":
            _check_reads(value)
        elif not isinstance(value, str):
            raise UserError(f"{key} is text in quotes, not {value}")
    epilogue = each.get("epilogue", "none")
    return read_operator([each.get("op", "")], expr=each.get("expr"), dtype=each.get("dtype"), epilogue=epilogue)


def _check_reads(value: object) -> None:
    if not isinstance(value, dict) or not value or not all(isinstance(source, str) for source in value.values()):
        raise UserError(f'reads is a table of inputs, such as {{ inp = "NAME" }}, not {value}')


def chain_table(names: list[str], found: Plan) -> Table:
    """One row for each operator, and one for each copy of a tensor in front of its first reader."""
    table = new_table("", "operator", "embedding", "reads", "writes", "cycles", right=["cycles"])
    left = list(found.copies)
    for place, (name, option) in enumerate(zip(names, found.options, strict=True)):
        keys = {form.key for form in option.given.values()}
        here = [copy for copy in left if _reads(copy.flow, place) and copy.after.key in keys]
        for copy in here:
            _copy_row(table, copy)
            left.remove(copy)
        reads = Text("\n".join(form.name for form in option.given.values()))
        table.add_row(name, Text(str(option.embedding)), reads, Text(option.made.name), f"{option.cycles:,}")
    for copy in left:
        _copy_row(table, copy)
    return table


def _reads(flow: Flow, place: int) -> bool:
    return any(reader == place for reader, _ in flow.readers)


def _copy_row(table: Table, copy: Copy) -> None:
    what = f"repack {copy.flow.name}"
    table.add_row("", what, Text(copy.before.name), Text(copy.after.name), f"{copy.cycles:,}", style="yellow")


def row(names: list[str], found: Plan) -> dict[str, object]:
    """The plan as one JSON object."""
    return {
        "operators": names,
        "embeddings": [str(option.embedding) for option in found.options],
        "relaxations": [str(option.embedding.relaxed or "") for option in found.options],
        "reads": [{entry: form.name for entry, form in option.given.items()} for option in found.options],
        "writes": [option.made.name for option in found.options],
        "cycles": [option.cycles for option in found.options],
        "repacks": [
            {"tensor": copy.flow.name, "from": copy.before.name, "to": copy.after.name, "cycles": copy.cycles}
            for copy in found.copies
        ],
        "total": found.cycles,
        "bound": found.bound,
        "greedy": found.greedy,
        "status": found.status,
        "seconds": found.seconds,
    }
