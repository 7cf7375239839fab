"""What the functions of `embed` are given: instruction sets, how to search, embeddings, checked in one place."""

from collections.abc import Mapping, Sequence
from os import PathLike

import isa
from dataflow.arguments import file_path, named, of_kind, seconds, texts, whole
from embed.demands import Demand
from embed.embedding import Embedding
from embed.relax.steps import names as relaxations
from embed.solver.search import Solution
from embed.solver.settings import Settings
from isa.model import Isa

Target = Isa | str | PathLike[str]
"""An instruction set, or the name or path of its file, read with the parameters that the file has by default."""

_LAYOUTS = "{'inp': 'NHWC'}"
_DEMANDS = "['in-place=inp']"
_PARAMETERS = "{'linearization_level': 1}"


def target_of(value: Target) -> Isa:
    """The instruction set; raises UserError for anything but one, or the name or path of its file."""
    return value if isinstance(value, Isa) else isa.load(value)


def settings_of(
    objective: str = "cycles",
    time_limit: float = 10.0,
    seed: int = 0,
    *,
    parameters: Mapping[str, bool | int | float] | None = None,
    dump: str | PathLike[str] | None = None,
    layouts: Mapping[str, str] | None = None,
    demands: Sequence[str] = (),
    relax: str | None = None,
) -> Settings:
    """How to search; raises UserError for a value that cannot be."""
    own = named("parameters", parameters, (bool, int, float), _PARAMETERS)
    return Settings(
        of_kind("objective", objective, str, "the name of an objective"),
        seconds("time_limit", time_limit),
        whole("seed", seed, 0),
        tuple(own.items()),
        None if dump is None else file_path("dump", dump),
        demands_of(demands),
        tuple(layouts_of(layouts).items()),
        None if relax is None else relaxations(of_kind("relax", relax, str, "names with commas between, all or none")),
    )


def demands_of(value: Sequence[str]) -> tuple[Demand, ...]:
    """Demands as they are written; raises UserError for one that is none."""
    return tuple(map(Demand.read, texts("demands", value, _DEMANDS)))


def layouts_of(value: Mapping[str, str] | None) -> dict[str, str]:
    """The layouts by tensor; raises UserError for anything but texts by name."""
    return named("layouts", value, str, _LAYOUTS)


def embedding_of(value: Solution | Embedding | None) -> Embedding | None:
    """The embedding of a solution; raises UserError for anything else."""
    if value is None or isinstance(value, Embedding):
        return value
    return of_kind("solution", value, Solution, "a Solution or Embedding, as best and alternatives find them").embedding
