"""The program between embedding and machine: a loop nest over tile origins with the instruction as its leaf."""

from embed.nest.build import build
from embed.nest.ir import Compute, Drain, Fill, Nest, Node, Pass, Points, Reset, Tail, Tiles
from embed.nest.schedule import Schedule

__all__ = ["Compute", "Drain", "Fill", "Nest", "Node", "Pass", "Points", "Reset", "Schedule", "Tail", "Tiles", "build"]
