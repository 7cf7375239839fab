"""Threads that share a kernel's tiles: helpers that wait for work in machine code, without the GIL.

Each helper has a mailbox. The calling thread counts up `_POSTED` there, does its own part, and waits until the helper
has counted up `_SERVED`. A helper without work for a while sleeps on a lock, and is roused through Python. Helpers stay
off the caller's CPU: a kernel is over before the system's scheduler would have moved one of two threads on one CPU.
"""

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Lock, Thread

from embed.cpu.assembler.control import (
    STACK,
    AddImmediate,
    Branch,
    BranchIfLess,
    Call,
    Item,
    Label,
    LoadPointer,
    Loop,
    Move,
    Order,
    Pause,
    Return,
    StorePointer,
)
from embed.cpu.runner.native import NativeFunction, current_cpu, pointers

Assemble = Callable[[Sequence[Item]], bytes]
"""Machine code of a function for this computer."""

_WORD = 8
_POSTED, _FUNCTION, _TENSORS, _BEGIN, _END, _SERVED = 0, 1, 2, 3, 4, 16
"""Words of a mailbox; the helper's is two cache lines away, since cores fetch neighbouring ones together."""

_MAILBOX_WORDS = 32
_PATIENCE = 4096
"""Turns of a waiting loop: a fifth of a millisecond where x86's PAUSE takes 140 cycles (Intel, Skylake and later)."""

_NAP = 5e-5


def serving() -> tuple[Item, ...]:
    """`serve(mailbox, patience, -)`: do what is posted, until nothing has been for `patience` turns."""
    box, patience, served, posted, turns = 0, 1, 3, 4, 5
    return (
        StorePointer(box, STACK, 0),
        StorePointer(patience, STACK, _WORD),
        Label("look"),
        LoadPointer(box, STACK, 0),
        LoadPointer(turns, STACK, _WORD),
        LoadPointer(served, box, _SERVED * _WORD),
        Label("wait"),
        LoadPointer(posted, box, _POSTED * _WORD),
        BranchIfLess(served, posted, "serve"),
        Pause(),
        Loop(turns, "wait"),
        Return(),
        Label("serve"),
        Order(),
        *_call(box),
        Order(),
        LoadPointer(box, STACK, 0),
        LoadPointer(served, box, _SERVED * _WORD),
        AddImmediate(served, served, 1),
        StorePointer(served, box, _SERVED * _WORD),
        Branch("look"),
    )


def leading(helpers: int) -> tuple[Item, ...]:
    """`lead(mailboxes, patience, -)`: post to the helpers, do what the last mailbox holds, and wait for the helpers.

    It waits `patience` turns for each at most.
    """
    boxes, patience, box, posted = 0, 1, 3, 4
    items: list[Item] = [StorePointer(boxes, STACK, 0), StorePointer(patience, STACK, _WORD), Order()]
    for number in range(helpers):
        items += [
            LoadPointer(box, boxes, number * _WORD),
            LoadPointer(posted, box, _POSTED * _WORD),
            AddImmediate(posted, posted, 1),
            StorePointer(posted, box, _POSTED * _WORD),
        ]
    items += [LoadPointer(box, boxes, helpers * _WORD), *_call(box)]
    for number in range(helpers):
        items += _wait(number)
    return (*items, Order(), Return())


def _call(box: int) -> tuple[Item, ...]:
    """Call what a mailbox holds."""
    own, address = 4, 5
    arguments = (LoadPointer(number, own, word * _WORD) for number, word in enumerate((_TENSORS, _BEGIN, _END)))
    return Move(own, box), LoadPointer(address, own, _FUNCTION * _WORD), *arguments, Call(address)


def _wait(number: int) -> tuple[Item, ...]:
    """Wait until helper `number` has served what was posted, or patience is over."""
    boxes, box, posted, served, turns = 0, 1, 2, 3, 4
    wait, turn, done = f"wait{number}", f"turn{number}", f"done{number}"
    return (
        LoadPointer(boxes, STACK, 0),
        LoadPointer(turns, STACK, _WORD),
        LoadPointer(box, boxes, number * _WORD),
        LoadPointer(posted, box, _POSTED * _WORD),
        Label(wait),
        LoadPointer(served, box, _SERVED * _WORD),
        BranchIfLess(served, posted, turn),
        Branch(done),
        Label(turn),
        Pause(),
        Loop(turns, wait),
        Label(done),
    )


class _Helper:
    """A thread with its mailbox, and the lock that it sleeps on."""

    def __init__(self, serve: NativeFunction) -> None:
        self.box = (ctypes.c_int64 * _MAILBOX_WORDS)()
        self._bell = Lock()
        self._bell.acquire()
        self._asleep = False
        self._thread = Thread(target=self._work, args=(serve,), daemon=True, name="isa-embed helper")
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self.box[_SERVED] < self.box[_POSTED]

    def rouse(self) -> None:
        """Ring the bell if the helper is asleep."""
        if self._asleep:
            self._asleep = False
            self._bell.release()

    def leave(self, cpu: int) -> None:
        """Run on any other CPU of the process, if it has another."""
        others = os.sched_getaffinity(0) - {cpu}
        if others and self._thread.native_id:
            os.sched_setaffinity(self._thread.native_id, others)

    def _work(self, serve: NativeFunction) -> None:
        table = (ctypes.c_void_p * _MAILBOX_WORDS).from_buffer(self.box)
        while True:
            serve(table, _PATIENCE, 0)
            self._asleep = True
            self._bell.acquire()


class Team:
    """The calling thread and its helpers."""

    def __init__(self, helpers: int, assemble: Assemble) -> None:
        serve = NativeFunction(assemble(serving()))
        self._lead = NativeFunction(assemble(leading(helpers)))
        self._helpers = [_Helper(serve) for _ in range(helpers)]
        self._own = (ctypes.c_int64 * _MAILBOX_WORDS)()
        self._boxes = [*(helper.box for helper in self._helpers), self._own]
        self._table = pointers([ctypes.addressof(box) for box in self._boxes])
        self._turn = Lock()
        self._cpu = -1

    def run(self, function: NativeFunction, tensors: "ctypes.Array[ctypes.c_void_p]", edges: Sequence[int]) -> None:
        """Run the tiles between each pair of `edges` on a thread of its own, and return when all are done.

        A caller who finds the helpers busy for another one runs all tiles itself.
        """
        if not self._turn.acquire(blocking=False):
            function(tensors, edges[0], edges[-1])
            return
        try:
            self._share(function, ctypes.addressof(tensors), edges)
        finally:
            self._turn.release()

    def _share(self, function: NativeFunction, tensors: int, edges: Sequence[int]) -> None:
        for box, (begin, end) in zip(self._boxes, pairwise(edges), strict=True):
            box[_FUNCTION : _END + 1] = [function.address, tensors, begin, end]
        self._keep_off(current_cpu())
        for helper in self._helpers:
            helper.rouse()
        self._lead(self._table, _PATIENCE, 0)
        while any(helper.busy for helper in self._helpers):
            for helper in self._helpers:
                helper.rouse()
            time.sleep(_NAP)

    def _keep_off(self, cpu: int) -> None:
        if cpu != self._cpu:
            self._cpu = cpu
            for helper in self._helpers:
                helper.leave(cpu)


_TEAMS: dict[tuple[int, int], Team] = {}
_MAKING = Lock()


def team(threads: int, assemble: Assemble) -> Team:
    """The team of so many threads, the calling one included; started once in a process, so also in a forked child."""
    key = threads, os.getpid()
    with _MAKING:
        if key not in _TEAMS:
            _TEAMS[key] = Team(threads - 1, assemble)
        return _TEAMS[key]
