"""VTA in software: a functional simulator, exact to the bit, and a timed one, exact to the cycle where that is known."""

from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.functional import Execution, simulate
from embed.vta.simulator.semantics import CHISEL, FSIM, Semantics
from embed.vta.simulator.state import Counters

__all__ = ["CHISEL", "FSIM", "Counters", "Execution", "Semantics", "SimulationError", "simulate"]
