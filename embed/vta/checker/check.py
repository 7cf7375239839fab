"""All rules of a portable VTA program, checked together."""

from embed.vta.checker.external import check_segments
from embed.vta.checker.fields import check_fields
from embed.vta.checker.order import check_finish, check_tokens, find_order
from embed.vta.checker.violation import Findings, ProgramError, Violation
from embed.vta.checker.walk import Walk
from embed.vta.machine import Machine
from embed.vta.program import Program
from embed.vta.roles import Roles
from embed.vta.steps import Step, steps


def check(program: Program, machine: Machine) -> list[Violation]:
    """Every rule of `RULES` that a program breaks, by instruction; empty for a program that runs alike everywhere.

    After a deadlock, or behind an instruction whose fields make no sense, memory is followed as far as possible.
    """
    findings = Findings()
    check_segments(program.segments, machine, findings)
    placed = _placed(program, machine.roles, findings)
    if placed is not None:
        check_fields(placed, machine, findings)
        order = find_order(placed, findings)
        complete = len(order.sequence) == len(placed)
        check_tokens(order, complete, findings)
        check_finish(placed, order, findings)
        Walk(program, machine, order, findings).run()
    return sorted(findings.violations, key=lambda violation: violation.index)


def verify(program: Program, machine: Machine) -> None:
    """Raise a ProgramError if the program breaks any rule."""
    violations = check(program, machine)
    if violations:
        raise ProgramError(violations)


def _placed(program: Program, roles: Roles, findings: Findings) -> list[Step] | None:
    instructions = enumerate(program.instructions)
    unknown = [(index, each.name) for index, each in instructions if each.name not in roles.entries]
    for index, name in unknown:
        findings.add(index, "instruction", f"VTA has no instruction {name}")
    return None if unknown else steps(program.instructions, roles)
