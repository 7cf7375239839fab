"""`isa-embed inspect`: the alternatives as a page to look at."""

import shlex
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from embed.cli.asked import AskedIsa, AskedList, AskedOperator, compile_line, run_line
from embed.cli.files import check_writable, write_whole
from embed.cli.groups import grouped
from embed.cli.machines import UNLISTED, say_note
from embed.cli.plans import plan_of
from embed.errors import NoEmbedding
from embed.inspect.data import page_data
from embed.inspect.page import page
from embed.inspect.plan_data import plan_data, shown_steps
from embed.nodes.front import pareto
from embed.solver.questions import unlisted

Page = Annotated[Path, typer.Option("--html", metavar="FILE", help="the page to write; it needs no network")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="how many of the best to show")]


@grouped
def inspect_command(html: Page, operator: AskedOperator, isa: AskedIsa, search: AskedList, limit: Limit = 60) -> None:
    """Write a page with every embedding: their costs, and where each lane of an invocation reads and writes."""
    wanted, target = operator.read(), isa.load()
    check_writable(html)
    plan = plan_of(wanted, target, search.read(), {"--dominated": search.dominated})
    if plan is not None:
        plan = pareto(plan) if search.pareto else plan
        write_whole(html, page(plan_data(plan, limit, run_line(operator, isa))))
        typer.echo(f"{wanted.title}: {len(shown_steps(plan, limit))} of {len(plan.every)} placements in {html}")
        return
    listed = search.find(wanted, target)
    shown = list(islice(listed, limit))
    if not shown:
        raise NoEmbedding(f"no embedding was found in time: {listed.progress}; raise the time limit", listed.progress)
    line = compile_line(operator, isa, search.layout or ())
    commands = [f"{line} --embedding {shlex.quote(str(one.embedding))} --out DIR" for one in shown]
    note = UNLISTED if unlisted(wanted, target, search.read()) else ""
    write_whole(html, page(page_data(listed, shown, commands, note)))
    say_note(note)
    typer.echo(f"{wanted.title}: {len(shown)} of {len(listed)} embeddings in {html}")
