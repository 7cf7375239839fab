"""Placing an instruction in an operator: embeddings, layouts, schedules, code, and running it.

op = dataflow.conv2d(c=64, h=56, w=56, k=64, r=3, s=3, pad=1)
kernel = embed.compile(op, "vta")
out = kernel(inp, wgt)

An instruction set is one that `isa.load` gives, or its name, or the path of its file. What cannot be meant raises
UserError.
"""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike

import numpy as np

from dataflow.arguments import file_path, named, of_kind, seconds, whole
from dataflow.operator import Operator, operator_of
from embed.abstract.kernel import AbstractKernel
from embed.cpu.cache import Cache
from embed.cpu.kernel import CpuKernel
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.given import Target, demands_of, embedding_of, layouts_of, settings_of, target_of
from embed.kernel import Array, Kernel, Wanted, compile_kernel, load_kernel
from embed.nodes.kernel import PlanKernel
from embed.nodes.plan import Plan
from embed.physical import Physical
from embed.solver import listing, search
from embed.solver.listing import Alternatives
from embed.solver.nodes import plans
from embed.solver.nodes.plans import fallback
from embed.solver.questions import OBJECTIVES
from embed.solver.search import Solution
from embed.solver.settings import Settings
from embed.vta.executable import VtaKernel

__all__ = [
    "OBJECTIVES",
    "AbstractKernel",
    "Alternatives",
    "Cache",
    "CpuKernel",
    "Embedding",
    "Kernel",
    "NoEmbedding",
    "Physical",
    "Plan",
    "PlanKernel",
    "Solution",
    "VtaKernel",
    "alternatives",
    "best",
    "compile",
    "load",
    "plan",
    "stream",
]


def best(
    operator: Operator,
    target: Target,
    *,
    objective: str = "cycles",
    time_limit: float = 10.0,
    seed: int = 0,
    parameters: Mapping[str, bool | int | float] | None = None,
    dump: str | PathLike[str] | None = None,
    layouts: Mapping[str, str] | None = None,
    demands: Sequence[str] = (),
    relax: str | None = None,
) -> Solution:
    """The best embedding of any instruction of `target` in `operator`, with its price and proof status.

    `objective` is one of OBJECTIVES; `time_limit` is in seconds; `parameters` are CP-SAT's own; the models are written
    to the file `dump`, numbered where there are several. `layouts` pins how tensors lie ({"inp": "NHWC"}): what an
    embedding leaves to pack then counts, and the operator of the result is one over arrays as they lie. Each of
    `demands` must hold, written as on the command line ("in-place=inp"). `relax` names the relaxations to try, with
    commas between, or is all or none; unless given, the machine decides. Raises NoEmbedding with the reason.
    """
    settings = settings_of(
        objective, time_limit, seed,
        parameters=parameters, dump=dump, layouts=layouts, demands=demands, relax=relax,
    )  # fmt: skip
    return search.best(operator_of(operator), target_of(target), settings)


def alternatives(
    operator: Operator,
    target: Target,
    *,
    objective: str = "cycles",
    time_limit: float = 10.0,
    seed: int = 0,
    parameters: Mapping[str, bool | int | float] | None = None,
    dump: str | PathLike[str] | None = None,
    dominated: bool = False,
    layouts: Mapping[str, str] | None = None,
    demands: Sequence[str] = (),
    relax: str = "none",
) -> Alternatives:
    """Every maximal regular embedding of any instruction of `target`, best first; iterate for Solutions.

    Maximal: no loop's dim would save invocations on idle lanes; `dominated` lists the others too. One map that can be
    written in several ways, as `x:16` and `y.x:16` with 112 columns, is listed as the best of them. `complete` says
    whether `time_limit` seconds were enough for all, `pareto()` keeps the front; `layouts` and `demands` as for `best`.
    Those of rewritten operators are added by the relaxations that `relax` names. Raises NoEmbedding with the reason.
    """
    settings = settings_of(
        objective, time_limit, seed=seed,
        parameters=parameters, dump=dump, layouts=layouts, demands=demands, relax=relax,
    )  # fmt: skip
    return listing.alternatives(operator_of(operator), target_of(target), settings, dominated)


def stream(
    operator: Operator,
    target: Target,
    *,
    time_limit: float = 10.0,
    seed: int = 0,
    dominated: bool = False,
    layouts: Mapping[str, str] | None = None,
    demands: Sequence[str] = (),
) -> Iterator[Solution]:
    """The embeddings of `alternatives` as they are found, each checked; `next(stream(...))` is the first."""
    settings = settings_of(time_limit=time_limit, seed=seed, layouts=layouts, demands=demands, relax="none")
    return listing.stream(operator_of(operator), target_of(target), settings, dominated)


def compile(  # noqa: A001
    operator: Operator,
    target: Target,
    solution: Solution | Embedding | None = None,
    *,
    layouts: Mapping[str, str] | None = None,
    threads: int = 1,
    constants: Mapping[str, Array] | None = None,
    cache: Cache | None = None,
    tune: int = 0,
    time_limit: float = 10.0,
    demands: Sequence[str] = (),
) -> VtaKernel | CpuKernel | AbstractKernel | PlanKernel:
    """Code for `operator` under the given embedding, or the best one. Call it with numpy arrays.

    `layouts` names how tensors lie ({"inp": "NHWC"}; row-major where not given; arrays of blocked ones such as NCHW16c
    have the packed shape, which `embed.Physical.of(tensor, "NCHW16c").pack` makes). A register machine takes the rest:
    `threads`
    share the outermost loop, `constants` are inputs given once and packed now, and `cache` keeps compiled kernels
    (constants aside) on disk: `embed.Cache()` in the user's cache directory. The model of the core picks the kernel;
    with `tune` the best so many that it names are timed on this machine and the fastest is kept.
    `time_limit` is in seconds, for the search of an embedding. Only kernels that meet all `demands` count, which are
    written as on the command line ("in-place=inp").
    For an ISA without encodings the kernel is an abstract program, which calls interpret; so is a plan of instructions
    that are no contraction, where no single one does the operator.
    Raises NoEmbedding, and UserError for a name, layout or array that does not fit.
    """
    operator, machine = operator_of(operator), target_of(target)
    wanted = Wanted(
        embedding_of(solution),
        layouts_of(layouts),
        whole("threads", threads, 1),
        named("constants", constants, np.ndarray, "{'wgt': array}"),
        cache if cache is None else of_kind("cache", cache, Cache, "an embed.Cache"),
        whole("tune", tune, 0),
        seconds("time_limit", time_limit),
        demands_of(demands),
    )
    try:
        return compile_kernel(operator, machine, wanted)
    except NoEmbedding:
        found = fallback(operator, machine, Settings(time_limit=time_limit)) if wanted.plain else None
        if found is None:
            raise
        return PlanKernel(found)


def plan(
    operator: Operator, target: Target, *, objective: str = "cycles", time_limit: float = 10.0, seed: int = 0
) -> Plan:
    """The best plan of the target's instructions that does every addend of `operator` once, contraction or not.

    `objective` is one of OBJECTIVES, `time_limit` is in seconds. `embed.PlanKernel` runs it. Raises NoEmbedding with
    the reason.
    """
    settings = settings_of(objective, time_limit=time_limit, seed=seed)
    return plans.plan(operator_of(operator), target_of(target), settings)


def load(path: str | PathLike[str]) -> VtaKernel | CpuKernel:
    """The kernel that `kernel.save(path)` wrote. Raises UserError for what is damaged or no kernel of this version."""
    return load_kernel(file_path("path", path))
