"""What copies of tensors cost that a kernel does not use where the user has them: packing, and borders of zeros."""

from dataflow.dtypes import bits
from embed.cpu.arrays.feed import Feed
from embed.physical import Physical
from embed.repacking import Packing

_PACKING = 3.0
"""Cycles a byte in which numpy copies an input into words."""

_PACKING_START = 20_000
"""Cycles of that however small: numpy's calls."""

_BORDER = {"start": 3000, "run": 14, "byte": 0.09, "apart": 1.3}
"""Cycles in which numpy copies an input into a border of zeros: for each run of neighbours and their bytes, or for each
element that is copied on its own (measured on an Emerald Rapids).
"""


def copy_cycles(size: int) -> float:
    """Cycles in which numpy brings so many bytes from one layout to another."""
    return _PACKING_START + _PACKING * size


def packing(feed: Feed, physical: Physical) -> Packing:
    """What is left to pack of a tensor that lies so where the user has it."""
    name, layout = physical.tensor.name, physical.name
    if feed.in_place:
        return Packing(name, layout, True)
    size = bits(physical.tensor.dtype)
    return Packing(name, layout, False, (physical.size + feed.size) * size // 8, round(copied(feed)))


def copied(feed: Feed) -> float:
    """Cycles of the copy of a tensor that the kernel does not read or write where the user has it."""
    if feed.in_place:
        return 0.0
    if feed.layout is None:
        return _bordering(feed)
    return copy_cycles(feed.size * bits(feed.physical.tensor.dtype) // 8)


def _bordering(feed: Feed) -> float:
    """Cycles of copying a tensor into a border."""
    tensor = feed.physical.tensor
    if feed.apart:
        return _BORDER["start"] + _BORDER["apart"] * tensor.size
    return _BORDER["start"] + _BORDER["run"] * tensor.size / feed.run + _BORDER["byte"] * tensor.bytes
