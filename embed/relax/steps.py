"""The relaxations by name, and steps as text: `toeplitz x,s:4; blocks g,wgt:2`."""

import re
from collections.abc import Iterable

from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.relax.blocks import BLOCKS
from embed.relax.rewritten import Refused, Relaxation, Rewritten, Step
from embed.relax.split import SPLIT
from embed.relax.sums import SUMS
from embed.relax.toeplitz import TOEPLITZ

RELAXATIONS: dict[str, Relaxation] = {known.name: known for known in (TOEPLITZ, BLOCKS, SPLIT, SUMS)}
"""Every relaxation that can be switched on."""

EXACT = ("toeplitz", "blocks", "split")
"""Those that leave the order of additions as it is: what is tried where nobody names any."""

_STEP = re.compile(r"\s*(?P<kind>\w+)\s+(?P<dims>[\w.]+(?:\s*,\s*[\w.]+)*)\s*:\s*(?P<factor>[1-9]\d*)\s*")


def names(text: str) -> tuple[str, ...]:
    """The relaxations that `none`, or names and `all` with commas between stand for; raises UserError for others."""
    if text == "none":
        return ()
    words = [name.strip() for name in text.split(",")]
    found = tuple(dict.fromkeys(name for word in words for name in (RELAXATIONS if word == "all" else (word,))))
    unknown = [name for name in found if name not in RELAXATIONS]
    if unknown:
        raise UserError(f"there is no relaxation '{unknown[0]}'; there are: {', '.join(RELAXATIONS)}, all, none")
    return found


def read_steps(text: str) -> tuple[Step, ...]:
    """Steps as they are printed; raises UserError for other text."""
    return tuple(map(_read, text.split(";")))


def _read(text: str) -> Step:
    match = _STEP.fullmatch(text)
    if match is None or match["kind"] not in RELAXATIONS:
        kinds = ", ".join(RELAXATIONS)
        raise UserError(f"relaxation '{text.strip()}': write KIND NAME,NAME:FACTOR, where KIND is one of {kinds}")
    return Step(match["kind"], tuple(dim.strip() for dim in match["dims"].split(",")), int(match["factor"]))


def relaxed(operator: Operator, steps: Iterable[Step]) -> Rewritten:
    """The operator rewritten by steps, one after the other; raises UserError where one does not apply."""
    found = Rewritten(operator, operator)
    for step in steps:
        try:
            found = RELAXATIONS[step.kind].apply(found, step.dims, step.factor)
        except Refused as reason:
            raise UserError(f"relaxation '{step}' does not apply to `{found.operator.main}`: {reason}") from None
    return found
