"""The program checker: every rule that makes a VTA program run alike on each implementation."""

from embed.vta.checker.check import check, verify
from embed.vta.checker.violation import RULES, ProgramError, Violation

__all__ = ["RULES", "ProgramError", "Violation", "check", "verify"]
