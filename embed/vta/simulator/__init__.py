"""VTA in software: a functional simulator, exact to the bit, and a timed one, exact where cycles were measured."""

from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.functional import Execution, simulate
from embed.vta.simulator.report import EngineTime, TimingReport
from embed.vta.simulator.semantics import CHISEL, FSIM, Semantics
from embed.vta.simulator.state import Counters
from embed.vta.simulator.timed import time_program
from embed.vta.simulator.timing import TimingModel

__all__ = [
    "CHISEL",
    "FSIM",
    "Counters",
    "EngineTime",
    "Execution",
    "Semantics",
    "SimulationError",
    "TimingModel",
    "TimingReport",
    "simulate",
    "time_program",
]
