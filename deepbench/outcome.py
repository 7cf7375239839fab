"""What a run of a suite tells the shell."""

from collections.abc import Sequence

from deepbench.emulated.record import EmulatedRecord
from deepbench.native.compile_time import CompileRecord
from deepbench.native.record import NativeRecord
from deepbench.suite import FAILED
from embed.cli.exits import ExitCode
from embed.cli.record import Record


def exit_code(records: Sequence[Record | NativeRecord | EmulatedRecord | CompileRecord]) -> int:
    """3 where a result is wrong or a problem failed, 1 where one has no embedding, else 0."""
    if any(record.status == FAILED or record.checked is False for record in records):
        return ExitCode.DEFECT
    return ExitCode.NO_EMBEDDING if any(record.checked is None for record in records) else ExitCode.DONE
