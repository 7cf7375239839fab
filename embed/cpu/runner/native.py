"""Machine code in this process: pages are writable or executable, never both; calls release the GIL."""

import ctypes
import mmap
import os
import platform
import sys
import weakref
from collections.abc import Sequence
from functools import cache

from dataflow.errors import UserError

_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_FAILED = ctypes.c_void_p(-1).value


class ExecutableMemory:
    """A copy of machine code that can be executed, unmapped when the object is no longer used.

    Raises UserError for no code, on systems other than Linux, and where the system forbids executable memory.
    """

    def __init__(self, code: bytes) -> None:
        if not code:
            raise UserError("there is no code to execute")
        libc = _libc()
        self.size = -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        address = libc.mmap(None, self.size, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
        if address == _FAILED:
            raise UserError(f"no memory for {len(code)} bytes of code: {_reason()}")
        self.address: int = address
        self._release = weakref.finalize(self, libc.munmap, address, self.size)
        ctypes.memmove(address, code, len(code))
        if libc.mprotect(address, self.size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise UserError(f"the system forbids executable memory: {_reason()}")
        _synchronise(address, len(code))


class NativeFunction:
    """Code of the C signature `void f(void **tensors, int64_t begin, int64_t end)`, called without the GIL.

    Any number of threads may call it at once: whether that is safe is up to the code.
    """

    def __init__(self, code: bytes) -> None:
        self.memory = ExecutableMemory(code)
        self.call = _SIGNATURE(self.memory.address)

    @property
    def address(self) -> int:
        return self.memory.address

    def __call__(self, tensors: "ctypes.Array[ctypes.c_void_p]", begin: int, end: int) -> None:
        self.call(tensors, begin, end)


def pointers(addresses: Sequence[int]) -> "ctypes.Array[ctypes.c_void_p]":
    """A C array of addresses, the first argument of a NativeFunction."""
    return (ctypes.c_void_p * len(addresses))(*addresses)


def current_cpu() -> int:
    """The number of the CPU that this thread runs on just now."""
    return int(_libc().sched_getcpu())


@cache
def _libc() -> ctypes.CDLL:
    if sys.platform != "linux":
        raise UserError(f"native code runs on Linux, not on {platform.system()}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    ]  # fmt: skip
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _reason() -> str:
    return os.strerror(ctypes.get_errno())


def _synchronise(address: int, size: int) -> None:
    """Arm's instruction cache does not see what was written until it is told; x86's does."""
    if platform.machine() == "aarch64":
        clear = ctypes.CDLL("libgcc_s.so.1").__clear_cache
        clear(ctypes.c_void_p(address), ctypes.c_void_p(address + size))
