"""`isa-embed embed`: the best embedding of one operator, explained, or the list of all."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from rich.console import RenderableType
from rich.text import Text

from dataflow import Operator, UserError
from embed.cli.asked import AskedIsa, AskedList, AskedOperator, compile_line, run_line
from embed.cli.console import say_stages, wide_console
from embed.cli.explain import alternatives_table, explain, solved
from embed.cli.files import check_writable, write_json_lines
from embed.cli.groups import grouped
from embed.cli.machines import UNLISTED, say_note
from embed.cli.options import All, First, JsonFile, Limit, Show, Verbose, Written
from embed.cli.plan_record import PlanRecord, plan_record
from embed.cli.plans import explain_placement, explain_plan, numbered, placements_table, plan_of
from embed.nodes.front import pareto
from embed.nodes.plan import Plan
from embed.parse import read_embedding
from embed.solver.listing import Alternatives, stream
from embed.solver.questions import unlisted
from embed.solver.search import Solution, best, given
from isa.model import Isa


@grouped
def embed_command(
    operator: AskedOperator,
    isa: AskedIsa,
    search: AskedList,
    every: All = False,
    first: First = False,
    show: Show = None,
    limit: Limit = 20,
    embedding: Written = None,
    verbose: Verbose = 0,
    json: JsonFile = None,
) -> None:
    """Find the best embedding of an operator and explain it: lanes, layouts, costs and what was proven; or list all."""
    say_stages(verbose)
    wanted, target = operator.read(), isa.load()
    check_writable(json)
    many = every or search.pareto or show is not None
    _refuse_both(embedding, {"--first": first, "--all": every, "--pareto": search.pareto, "--show": show})
    options = {"--first": first, "--dominated": search.dominated}
    plan = plan_of(wanted, target, search.read(), options) if embedding is None else None
    if plan is not None:
        plan = pareto(plan) if search.pareto else plan
        if json:
            write_json_lines(json, [each.to_dict() for each in _records(plan, search, many, show, limit)])
        _print(_plan_pieces(plan, many, show, limit, run_line(operator, isa)))
        return
    listed = search.find(wanted, target) if many else None
    if listed is None:
        shown = [_one(wanted, target, search, embedding, first)]
    else:
        shown = [_numbered(listed, show)] if show else list(islice(listed, limit))
    if json:
        write_json_lines(json, [solved(wanted.title, "", target, search.objective, one).to_dict() for one in shown])
    pieces = (
        explain(
            target,
            shown[0],
            search.objective,
            compile_line(operator, isa, search.layout or ()),
        )
        if listed is None or show
        else (alternatives_table(wanted, listed, shown),)
    )
    _print(pieces)
    if listed is not None and show is None and unlisted(wanted, target, search.read()):
        say_note(UNLISTED)


def _refuse_both(embedding: str | None, given: Mapping[str, object]) -> None:
    """Raise UserError where what is shown is asked for in two ways, one of which would not count."""
    one = [option for option, value in given.items() if value]
    if embedding is not None and one:
        raise UserError(f"{one[0]}: --embedding is the one that is explained; leave out one of the two")
    if given["--first"] and len(one) > 1:
        raise UserError(f"{one[1]}: --first explains the first that is found; leave out one of the two")


def _records(plan: Plan, search: AskedList, many: bool, show: int | None, limit: int) -> Iterator[PlanRecord]:
    """The plan; of a list every placement that is shown, as if it were the only step."""
    shown = [numbered(plan, show)] if show else list(plan.every[:limit]) if many else []
    for steps in [(step,) for step in shown] if many else [plan.steps]:
        yield plan_record(replace(plan, steps=steps), search.objective)


def _plan_pieces(plan: Plan, many: bool, show: int | None, limit: int, command: str) -> Iterable[RenderableType]:
    if show:
        return explain_placement(plan, show)
    return (placements_table(plan, limit),) if many else explain_plan(plan, command)


def _print(pieces: Iterable[RenderableType]) -> None:
    console = wide_console()
    for piece in pieces:
        console.print(piece, soft_wrap=isinstance(piece, Text))  # a command is copied as a whole


def _numbered(listed: Alternatives, number: int) -> Solution:
    if number > len(listed):
        so_far = "" if listed.complete else f" so far: {listed.progress}; raise the time limit"
        raise UserError(f"--show: there is no embedding {number}; the list has {len(listed)}{so_far}")
    return listed[number - 1]


def _one(operator: Operator, target: Isa, search: AskedList, text: str | None, first: bool) -> Solution:
    """The embedding that is written down, or the first found, or the best."""
    if text is not None:
        chosen = read_embedding(text, operator, target)
        return given(chosen, target, search.read())
    settings = search.read()
    found = next(stream(operator, target, settings, search.dominated), None) if first else None
    return found or best(operator, target, settings)
