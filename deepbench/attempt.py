"""The record of a problem whatever happens: what was found, or what went wrong; the other problems still run."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deepbench.problems import Problem
from deepbench.suite import FAILED, Kind, Settings
from embed.errors import NoEmbedding


def blank(kind: type[Kind], problem: Problem, settings: Settings, **more: Any) -> Kind:
    """A record of which only the problem and the settings are known, and `more`."""
    known: dict[str, Any] = {
        "problem": problem.name,
        "suite": problem.suite,
        "op": problem.operator().title,
        "isa": settings.isa,
        "parameters": dict(settings.parameters),
        "status": FAILED,
    }
    return kind(**known, **more)


def attempt(empty: Kind, work: Callable[[], Kind]) -> Kind:
    """What `work` returns; where it raises, `empty` with NONE (no embedding) or FAILED, and the message on one line."""
    try:
        return work()
    except NoEmbedding as error:
        return failed(empty, "NONE", str(error))
    except Exception as error:
        return failed(empty, FAILED, f"{type(error).__name__}: {error}")


def failed(empty: Kind, status: str, message: str) -> Kind:
    """The record with a status and why."""
    changes: dict[str, Any] = {"status": status, "error": one_line(message)}
    return replace(empty, **changes)


def one_line(message: str) -> str:
    """The words of a message, as a table can show them."""
    return " ".join(message.split())
