"""`isa-embed embed`: the best embedding of one operator, explained, or the list of all."""

from itertools import islice

import isa as isa_files
from dataflow import Operator, UserError
from embed.cli.console import say_stages, wide_console
from embed.cli.explain import alternatives_table, explain, solved
from embed.cli.files import check_writable, write_json_lines
from embed.cli.operators import compile_line, read_operator, read_settings, read_solver_parameters
from embed.cli.options import (
    All,
    Demands,
    Dominated,
    Dtype,
    DumpModel,
    EpilogueText,
    Expr,
    First,
    IsaName,
    JsonFile,
    Limit,
    Objective,
    Pareto,
    Seed,
    Settings,
    Show,
    SolverParameters,
    TimeLimit,
    Verbose,
    Words,
    Workers,
    Written,
)
from embed.costs import evaluate, rates
from embed.demands import Demand
from embed.parse import read_embedding
from embed.solver import settings as solver
from embed.solver.search import Alternatives, Solution, alternatives, best, stream
from isa.model import Isa


def embed_command(
    words: Words = None,
    expr: Expr = None,
    dtype: Dtype = None,
    epilogue: EpilogueText = "none",
    isa: IsaName = "vta",
    settings: Settings = None,
    objective: Objective = "cycles",
    time_limit: TimeLimit = 10.0,
    seed: Seed = 0,
    every: All = False,
    pareto: Pareto = False,
    first: First = False,
    dominated: Dominated = False,
    show: Show = None,
    embedding: Written = None,
    demand: Demands = None,
    limit: Limit = 20,
    workers: Workers = 1,
    solver_params: SolverParameters = None,
    dump_model: DumpModel = None,
    verbose: Verbose = 0,
    json: JsonFile = None,
) -> None:
    """Find the best embedding of an operator and explain it: lanes, layouts, costs and what was proven; or list all."""
    say_stages(verbose)
    operator = read_operator(words or (), expr=expr, dtype=dtype, epilogue=epilogue)
    target = isa_files.load(isa, read_settings(settings or ()))
    check_writable(json, dump_model)
    own = read_solver_parameters(solver_params or ())
    demands = tuple(map(Demand.read, demand or ()))
    search = solver.Settings(objective, time_limit, workers, seed, tuple(own.items()), dump_model, demands)
    listed = alternatives(operator, target, search, dominated) if every or pareto or show else None
    if listed is not None and pareto:
        listed = listed.pareto()
    if listed is None:
        shown = [_one(operator, target, search, embedding, first, dominated)]
    else:
        shown = [_numbered(listed, show)] if show else list(islice(listed, limit))
    if json:
        write_json_lines(json, [solved(operator.title, "", target, objective, one).to_dict() for one in shown])
    command = compile_line(words or (), expr, dtype, epilogue, isa, settings or ())
    pieces = (
        explain(operator, target, shown[0], objective, command)
        if listed is None or show
        else (alternatives_table(operator, listed, shown),)
    )
    console = wide_console()
    for piece in pieces:
        console.print(piece)


def _numbered(listed: Alternatives, number: int) -> Solution:
    if number > len(listed):
        raise UserError(f"--show: there is no embedding {number}; the list has {len(listed)}")
    return listed[number - 1]


def _one(
    operator: Operator, target: Isa, search: solver.Settings, text: str | None, first: bool, dominated: bool
) -> Solution:
    """The embedding that is written down, or the first found, or the best."""
    if text is not None:
        chosen = read_embedding(text, operator, target)
        price = evaluate(chosen, rates(operator, target.instruction(chosen.name), target))
        return Solution(chosen, price, "GIVEN", 0.0)
    if not first:
        return best(operator, target, search)
    found = next(stream(operator, target, search, dominated), None)
    return found or best(operator, target, search)
