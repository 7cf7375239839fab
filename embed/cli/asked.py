"""What a user asks, the same in every command: an operator, an instruction set, how to search, what kernel.

A new option of several commands is one alias in `options.py` and one field here.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import isa as isa_files
from dataflow import Operator, UserError
from embed.cli import options
from embed.cli.files import check_writable
from embed.cli.operators import read_operator, read_pairs, read_settings, read_solver_parameters
from embed.demands import Demand
from embed.relax.steps import names as relaxation_names
from embed.solver.listing import Alternatives, alternatives
from embed.solver.settings import Settings
from isa.model import Isa


@dataclass(frozen=True, slots=True)
class AskedOperator:
    """An operator of the library or an expression, and what follows its sums."""

    words: options.Words = None
    expr: options.Expr = None
    dtype: options.Dtype = None
    epilogue: options.EpilogueText = "none"

    def read(self) -> Operator:
        """The operator; raises UserError for anything that names none."""
        return read_operator(self.words or (), expr=self.expr, dtype=self.dtype, epilogue=self.epilogue)


@dataclass(frozen=True, slots=True)
class AskedIsa:
    """An instruction set, and the parameters it is read with."""

    isa: options.IsaName = "vta"
    settings: options.Settings = None

    @property
    def parameters(self) -> dict[str, int]:
        """The values of `--set`."""
        return read_settings(self.settings or ())

    def load(self) -> Isa:
        """The file; raises UserError or IsaError for what is wrong with it."""
        return isa_files.load(self.isa, self.parameters)


@dataclass(frozen=True, slots=True)
class AskedSearch:
    """What the best embedding is, and how long to look for it: of every command that finds one."""

    objective: options.Objective = "cycles"
    time_limit: options.TimeLimit = 10.0
    seed: options.Seed = 0
    relax: options.Relax = None

    def read(self) -> Settings:
        """For the solver; raises UserError for a relaxation that is none."""
        return Settings(self.objective, self.time_limit, seed=self.seed, relax=self.relaxations)

    @property
    def relaxations(self) -> tuple[str, ...] | None:
        """The relaxations named, None where the machine decides; raises UserError for one that is none."""
        return None if self.relax is None else relaxation_names(self.relax)


@dataclass(frozen=True, slots=True)
class AskedEmbedding(AskedSearch):
    """What more the user says of an embedding: how tensors lie, and what he demands; and how the solver is set."""

    layout: options.Layouts = None
    demand: options.Demands = None
    solver_params: options.SolverParameters = None

    @property
    def layouts(self) -> dict[str, str]:
        """By tensor."""
        return read_pairs("--layout", self.layout or ())

    def read(self) -> Settings:
        """For the solver; raises UserError for a demand, a layout or a parameter that is none."""
        demands = tuple(map(Demand.read, self.demand or ()))
        own = tuple(read_solver_parameters(self.solver_params or ()).items())
        layouts = tuple(self.layouts.items())
        return replace(AskedSearch.read(self), demands=demands, layouts=layouts, parameters=own)


@dataclass(frozen=True, slots=True)
class AskedList(AskedEmbedding):
    """Which embeddings are listed: of the commands that show many."""

    pareto: options.Pareto = False
    dominated: options.Dominated = False
    dump_model: options.DumpModel = None

    def read(self) -> Settings:
        """For the solver; raises UserError as above, and for a file not to write."""
        check_writable(self.dump_model)
        return replace(AskedEmbedding.read(self), dump=self.dump_model)

    def find(self, operator: Operator, target: Isa) -> Alternatives:
        """All embeddings that count, or those that none of them beats."""
        found = alternatives(operator, target, self.read(), self.dominated)
        return found.pareto() if self.pareto else found


@dataclass(frozen=True, slots=True)
class AskedKernel:
    """How a kernel for a CPU is made."""

    threads: options.Threads = 1
    tune: options.Tune = 0

    @property
    def given(self) -> dict[str, object]:
        """By option, what differs from the usual."""
        return {"--threads": self.threads - 1, "--tune": self.tune}


def refuse(command: str, target: Isa, given: Mapping[str, object]) -> None:
    """Raise UserError for an option that was given and that has no meaning for the machine."""
    for option, value in given.items():
        if value:
            raise UserError(f"{option} has no meaning for {target.name}; see isa-embed {command} --help")


def compile_line(operator: AskedOperator, target: AskedIsa, layouts: Sequence[str] = ()) -> str:
    """The command line that compiles the operator, as a shell takes it, up to `--embedding`."""
    return _line("compile", operator, target, layouts)


def run_line(operator: AskedOperator, target: AskedIsa) -> str:
    """The command line that runs the operator, as a shell takes it."""
    return _line("run", operator, target, ())


def _line(command: str, operator: AskedOperator, target: AskedIsa, layouts: Sequence[str]) -> str:
    epilogue = None if operator.epilogue == "none" else operator.epilogue
    named = [("--expr", operator.expr), ("--dtype", operator.dtype), ("--epilogue", epilogue)]
    parts = ["isa-embed", command, *(operator.words or ()), "--isa", target.isa]
    parts += [part for option, value in named if value is not None for part in (option, value)]
    parts += [part for each in target.settings or () for part in ("--set", each)]
    parts += [part for each in layouts for part in ("--layout", each)]
    return shlex.join(parts)
