"""VTA's three engines, and the dependency queues that an instruction's four flags move tokens through."""

from enum import IntEnum


class Engine(IntEnum):
    """The three engines, in the order in which tvm-vta fsim visits them."""

    COMPUTE = 0
    LOAD = 1
    STORE = 2

    @property
    def label(self) -> str:
        return self.name.lower()


class Queue(IntEnum):
    """The four token queues, named producer to consumer."""

    LOAD_TO_COMPUTE = 0
    COMPUTE_TO_LOAD = 1
    COMPUTE_TO_STORE = 2
    STORE_TO_COMPUTE = 3

    @property
    def label(self) -> str:
        return self.name.lower().replace("_to_", "->")

    @property
    def producer(self) -> Engine:
        return _ENDS[self][0]

    @property
    def consumer(self) -> Engine:
        return _ENDS[self][1]


_ENDS = {
    Queue.LOAD_TO_COMPUTE: (Engine.LOAD, Engine.COMPUTE),
    Queue.COMPUTE_TO_LOAD: (Engine.COMPUTE, Engine.LOAD),
    Queue.COMPUTE_TO_STORE: (Engine.COMPUTE, Engine.STORE),
    Queue.STORE_TO_COMPUTE: (Engine.STORE, Engine.COMPUTE),
}

FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")
FLAG_QUEUES: dict[Engine, dict[str, Queue]] = {
    Engine.LOAD: {"pop_next": Queue.COMPUTE_TO_LOAD, "push_next": Queue.LOAD_TO_COMPUTE},
    Engine.COMPUTE: {
        "pop_prev": Queue.LOAD_TO_COMPUTE,
        "pop_next": Queue.STORE_TO_COMPUTE,
        "push_prev": Queue.COMPUTE_TO_LOAD,
        "push_next": Queue.COMPUTE_TO_STORE,
    },
    Engine.STORE: {"pop_prev": Queue.COMPUTE_TO_STORE, "push_prev": Queue.STORE_TO_COMPUTE},
}
"""By engine: the queue that each of its flags pops or pushes."""
