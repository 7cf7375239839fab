"""Facts that follow from an ISA file alone, worked out once for each loaded file."""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from isa.model import Isa

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def remembered(
    function: Callable[Concatenate[Isa, Arguments], Result],
) -> Callable[Concatenate[Isa, Arguments], Result]:
    """The function of an ISA and of hashable positional arguments, its results kept with the ISA: change none."""

    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def known(target: Isa, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        assert not named
        key: Hashable = (name, arguments)
        memo = target.memo
        if key not in memo:
            memo[key] = function(target, *arguments, **named)
        return cast(Result, memo[key])

    return known
