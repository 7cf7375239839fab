"""The one place that turns what went wrong into one line on stderr and an exit code."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from enum import IntEnum
from pathlib import Path

import typer

from dataflow import UserError


class ExitCode(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    NO_EMBEDDING = 1
    BAD_INPUT = 2
    DEFECT = 3
    INTERRUPTED = 130
    UNREAD = 141


class Interrupted(UserError):
    """The user stopped a run; the message says how to go on."""

    exit_code = ExitCode.INTERRUPTED


class Defect(UserError):
    """A wrong result: ours to repair, but known well enough to say in one line without a traceback."""

    exit_code = ExitCode.DEFECT


def guarded(command: Callable[[], object]) -> int:
    """Run a command and return its exit code; whatever it raises becomes one message on stderr."""
    with _output():
        return _guarded(command)


@contextmanager
def _output() -> Iterator[None]:
    """Standard output, or where the process was started without one, nothing that holds what is written."""
    if sys.stdout is not None:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, redirect_stdout(nothing):
        yield


def _guarded(command: Callable[[], object]) -> int:
    try:
        result = command()
    except UserError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _fail(_usage(error), ExitCode.BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", ExitCode.INTERRUPTED)
    except (BrokenPipeError, SystemExit):  # the latter is what rich and typer make of the former
        return _unread()
    except OSError as error:
        return _fail(_describe(error), ExitCode.BAD_INPUT)
    except MemoryError as error:
        return _fail(f"this machine has not enough memory: {error or 'for data of this size'}", ExitCode.BAD_INPUT)
    except Exception as error:  # the last resort is to say that this is our defect
        return _defect(error)
    return result if isinstance(result, int) else ExitCode.DONE


def _unread() -> int:
    """Standard output was closed before all was written, as by `head`: nothing to say, and nowhere to say it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.UNREAD


def debugging() -> bool:
    """Whether a defect shows its traceback: DEBUG=1 or more, or ISA_EMBED_DEBUG=1."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in ("DEBUG", "ISA_EMBED_DEBUG"))


def _fail(message: str, code: int) -> int:
    print(f"isa-embed: {message}" if code == ExitCode.INTERRUPTED else f"error: {message}", file=sys.stderr)
    return int(code)


def _usage(error: typer.TyperException) -> str:
    """The message, and where the valid names are listed if the command is known."""
    context = getattr(error, "ctx", None)
    return error.format_message().rstrip(".") + (f"; see {context.command_path} --help" if context else "")


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _defect(error: Exception) -> int:
    if debugging():
        raise error
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return _fail(f"a defect of isa-embed: {what}; please report it with the output of DEBUG=1", ExitCode.DEFECT)
