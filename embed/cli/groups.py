"""Options that several commands share, as dataclasses: a field is an option, and a command takes the whole value."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

Result = TypeVar("Result")

_NAMED = inspect.Parameter.KEYWORD_ONLY


def grouped(command: Callable[..., Result]) -> Callable[..., Result]:
    """The command for typer: each parameter whose type is a dataclass becomes the options that its fields describe.

    They come where the parameter stands, with the fields' defaults; typer calls with names, so their order is free.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    def called(**given: Any) -> Result:
        values = {name: group(**{each.name: given.pop(each.name) for each in fields(group)})
                  for name, group in groups.items()}  # fmt: skip
        return command(**values, **given)

    parameters = [
        option
        for name, parameter in inspect.signature(command).parameters.items()
        for option in (_options(groups[name]) if name in groups else [parameter.replace(kind=_NAMED)])
    ]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {option.name: option.annotation for option in parameters}
    return called


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(each.name, _NAMED, default=each.default, annotation=hints[each.name])
        for each in fields(group)
    ]
