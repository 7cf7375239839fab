"""Who touched an element last: one array of times per engine, a time being that engine's own clock."""

import numpy as np
import numpy.typing as npt

from embed.vta.checker.order import Clock
from embed.vta.engines import Engine
from embed.vta.simulator.indices import Places

Times = npt.NDArray[np.int32]


class Stamps:
    """Times of the last write by `writer` and of the last reads by `readers`, per element; 0 is never."""

    def __init__(self, count: int, writer: Engine, *readers: Engine) -> None:
        self.writer = writer
        self.written: Times = np.zeros(count, np.int32)
        self.read: dict[Engine, Times] = {engine: np.zeros(count, np.int32) for engine in readers}

    def write(self, places: Places, clock: Clock) -> tuple[Engine, int] | None:
        """Note a write; returns an unordered earlier read (engine and its time), if any."""
        conflict = None
        for engine, times in self.read.items():
            latest = int(times[places].max())
            if latest > clock[engine]:
                conflict = (engine, latest)
        self.written[places] = clock[self.writer]
        return conflict

    def note_read(self, places: Places, clock: Clock, reader: Engine) -> tuple[Engine, int] | None:
        """Note a read; returns the unordered earlier write, if any."""
        self.read[reader][places] = clock[reader]
        latest = int(self.written[places].max())
        return (self.writer, latest) if latest > clock[self.writer] else None

    def initialised(self, places: Places) -> bool:
        """Whether every element has been written."""
        return bool(self.written[places].all())
