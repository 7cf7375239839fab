"""Control items, the calling convention and the executable memory of x86-64, by running programs made by hand."""

import ctypes
import gc
import mmap
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iced_x86 import BlockEncoder, Decoder

import isa
from dataflow import gemm
from dataflow.errors import UserError
from embed.cpu.assembler.control import (
    STACK,
    Add,
    AddImmediate,
    Branch,
    BranchIfLess,
    BranchIfZero,
    Item,
    Label,
    Level,
    LoadPointer,
    LoadWord,
    Loop,
    Move,
    Multiply,
    MultiplyImmediate,
    Prefetch,
    Return,
    SetImmediate,
    SetMask,
    StorePointer,
)
from embed.cpu.assembler.x86 import POINTERS, assemble
from embed.cpu.compile import compile_cpu
from embed.cpu.runner.native import ExecutableMemory, NativeFunction, pointers
from isa import IsaError, MachineInstruction
from isa.features import cpu_features
from isa.x86 import disassemble

AVX2, AVX512 = isa.load("avx2"), isa.load("avx512")
Words = npt.NDArray[np.int64]
ON_X86 = pytest.mark.skipif("sse2" not in cpu_features(), reason="this CPU is not x86-64")
BITS = (1 << 64) - 1
REGISTERS = len(POINTERS)


def lacks(target: isa.Isa) -> pytest.MarkDecorator:
    missing = target.missing_features()
    return pytest.mark.skipif(bool(missing), reason=f"this CPU lacks {', '.join(missing)}")


def call(items: Sequence[Item], *arrays: npt.NDArray[np.generic], begin: int = 0, end: int = 0) -> None:
    NativeFunction(assemble(items, AVX512).code)(pointers([array.ctypes.data for array in arrays]), begin, end)


def vector(name: str, **fields: int) -> MachineInstruction:
    return MachineInstruction(name, {key.replace("__", "."): value for key, value in fields.items()})


def dot_product(length: int) -> list[Item]:
    """out[0..15] = partial sums of a[i] * b[i] for `length` floats; a, b, out are the tensors."""
    whole, rest = divmod(length, 16)
    items: list[Item] = [LoadPointer(3, 0, 0), LoadPointer(4, 0, 8), LoadPointer(5, 0, 16)]
    items += [vector("vxorps_zmm_zero", dst=0), SetImmediate(6, whole), BranchIfZero(6, "rest"), Label("body")]
    items += [vector("vmovups_zmm_m512", dst=1, src__base=3)]
    items += [vector("vfmadd231ps_zmm_zmm_m512", acc=0, a=1, b__base=4)]
    items += [
        AddImmediate(3, 3, 64),
        AddImmediate(4, 4, 64),
        Loop(6, "body"),
        Label("rest"),
        SetMask(1, (1 << rest) - 1, 7),
    ]
    items += [
        vector("vmovups_zmm_kz_m512", dst=1, src__base=3, k=1),
        vector("vmovups_zmm_kz_m512", dst=2, src__base=4, k=1),
    ]
    items += [
        vector("vfmadd231ps_zmm_zmm_zmm", acc=0, a=1, b=2),
        vector("vmovups_m512_zmm", dst__base=5, src=0),
        Return(),
    ]
    return items


@lacks(AVX512)
@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 31, 160, 1000])
def test_dot_product(length: int) -> None:
    generator = np.random.default_rng(length)
    left, right = generator.integers(-9, 9, (2, length)).astype(np.float32)
    out = np.zeros(16, np.float32)
    call(dot_product(length), left, right, out)
    assert out.sum() == left @ right


@lacks(AVX512)
def test_masked_lanes_are_not_accessed() -> None:
    """A masked load and store of the last three floats before a page that must not be touched."""
    page = mmap.PAGESIZE
    with mmap.mmap(-1, 2 * page) as memory:
        array = np.frombuffer(memory, np.float32)
        address = array.ctypes.data
        libc = ctypes.CDLL(None)
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        assert libc.mprotect(address + page, page, 0) == 0
        edge = array[page // 4 - 3 : page // 4]
        edge[:] = [1, 2, 3]
        items: list[Item] = [LoadPointer(3, 0, 0), SetMask(2, 0b111, 5)]
        items += [vector("vmovups_zmm_kz_m512", dst=9, src__base=3, k=2), vector("vaddps_zmm_zmm_zmm", dst=9, a=9, b=9)]
        items += [vector("vmovups_m512_k_zmm", dst__base=3, src=9, k=2), Return()]
        call(items, edge)
        assert edge.tolist() == [2, 4, 6]
        del array, edge


@lacks(AVX512)
@given(st.integers(0, BITS), st.integers(1, 7))
@settings(max_examples=40)
def test_masks_of_any_width(mask: int, number: int) -> None:
    out = np.zeros(64, np.int8)
    items: list[Item] = [LoadPointer(3, 0), SetMask(number, mask, 4), SetImmediate(4, -1)]
    items += [vector("vpbroadcastd_zmm_r32", dst=17, src=4)]
    items += [vector("vmovdqu8_m512_k_zmm", dst__base=3, src=17, k=number), Return()]
    call(items, out)
    assert (out == -(mask >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(np.int8)).all()


@lacks(AVX2)
@pytest.mark.parametrize("live", range(9))
def test_masks_in_vector_registers(live: int) -> None:
    left = np.arange(1, 9, dtype=np.float32)
    mask = np.where(np.arange(8) < live, -1, 0).astype(np.int32)
    out = np.full(8, -1, np.float32)
    items: list[Item] = [LoadPointer(3, 0), LoadPointer(4, 0, 8), LoadPointer(5, 0, 16)]
    items += [
        vector("vmovdqu_ymm_m256", dst=1, src__base=4),
        vector("vmaskmovps_ymm_ymm_m256", dst=2, k=1, src__base=3),
    ]
    items += [vector("vaddps_ymm_ymm_ymm", dst=2, a=2, b=2)]
    items += [vector("vmaskmovps_m256_ymm_ymm", dst__base=5, k=1, src=2), Return()]
    NativeFunction(assemble(items, AVX2).code)(pointers([each.ctypes.data for each in (left, mask, out)]), 0, 0)
    assert (out == np.where(np.arange(8) < live, 2 * left, -1)).all()


Register = st.integers(1, REGISTERS - 1)
Word = st.one_of(
    st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-130, 130), st.sampled_from([0, 1, -1, 127, 128, -128])
)
Straight = st.one_of(
    st.builds(Move, Register, Register),
    st.builds(SetImmediate, Register, st.one_of(Word, st.integers(-(1 << 63), BITS), st.just(1 << 31))),
    st.builds(Add, Register, Register),
    st.builds(AddImmediate, Register, Register, Word),
    st.builds(Multiply, Register, Register),
    st.builds(MultiplyImmediate, Register, Register, Word),
    st.builds(lambda register, place: StorePointer(register, STACK, 8 * place), Register, st.integers(0, 5)),
    st.builds(lambda register, place: LoadPointer(register, STACK, 8 * place), Register, st.integers(0, 5)),
    st.builds(lambda register, place: LoadWord(register, STACK, 8 * place), Register, st.integers(0, 5)),
)


def interpret(items: Sequence[Item], state: list[int], frame: list[int]) -> None:
    """What straight-line items mean, on Python integers."""
    for item in items:
        match item:
            case Move(dst, src):
                state[dst] = state[src]
            case SetImmediate(dst, value):
                state[dst] = value & BITS
            case Add(dst, src):
                state[dst] = state[dst] + state[src] & BITS
            case AddImmediate(dst, src, value):
                state[dst] = state[src] + value & BITS
            case Multiply(dst, src):
                state[dst] = state[dst] * state[src] & BITS
            case MultiplyImmediate(dst, src, value):
                state[dst] = state[src] * value & BITS
            case StorePointer(src, _, disp):
                frame[disp // 8] = state[src]
            case LoadPointer(dst, _, disp):
                state[dst] = frame[disp // 8]
            case LoadWord(dst, _, disp):
                low = frame[disp // 8] & 0xFFFFFFFF
                state[dst] = low - (low >> 31 << 32) & BITS


@ON_X86
@settings(max_examples=150)
@given(st.lists(Straight, max_size=40))
def test_straight_line_items(items: list[Item]) -> None:
    start = [(number * 0x9E3779B97F4A7C15) & BITS for number in range(REGISTERS)]
    state, frame = list(start), [0] * 6
    clear = [StorePointer(1, STACK, 8 * place) for place in range(6)]
    setup: list[Item] = [SetImmediate(1, 0), *clear]
    setup += [SetImmediate(number, start[number]) for number in range(1, REGISTERS)]
    finish: list[Item] = [LoadPointer(0, 0), *(StorePointer(n, 0, 8 * n) for n in range(1, REGISTERS)), Return()]
    out = np.zeros(REGISTERS, np.uint64)
    call([*setup, *items, *finish], out)
    interpret(items, state, frame)
    assert out[1:].tolist() == state[1:]


def iced_bytes(code: bytes) -> bytes:
    """What iced makes of a program, picking the size of every branch and displacement itself."""
    encoder = BlockEncoder(64)
    for each in Decoder(64, code):
        each.memory_displ_size = min(1, each.memory_displ_size)
        encoder.add(each)
    return bytes(encoder.encode(0))


Jumps = st.one_of(
    st.builds(Loop, Register, st.sampled_from("abc")),
    st.builds(BranchIfLess, Register, Register, st.sampled_from("abc")),
    st.builds(BranchIfZero, Register, st.sampled_from("abc")),
    st.builds(Branch, st.sampled_from("abc")),
    st.builds(Prefetch, Register, Word, st.sampled_from(Level)),
    st.builds(SetMask, st.integers(1, 7), st.integers(0, BITS), Register),
)


@settings(max_examples=100)
@given(st.lists(st.one_of(Straight, Jumps), max_size=90), st.lists(st.integers(0, 90), min_size=3, max_size=3))
def test_iced_makes_the_same_bytes(items: list[Item], places: list[int]) -> None:
    for name, place in zip("abc", places, strict=True):
        items.insert(place, Label(name))
    code = assemble([*items, Return()], AVX512).code
    assert iced_bytes(code) == code


@pytest.mark.parametrize("length", [1000, 6000])
def test_iced_makes_the_same_kernels(length: int) -> None:
    for target in (AVX2, AVX512):
        kernel = compile_cpu(gemm(m=37, n=length, k=9, dtype="f32"), target)
        assert iced_bytes(kernel.code) == kernel.code


@ON_X86
@settings(max_examples=30)
@given(st.integers(-20, 20), st.integers(-20, 20))
def test_branches(begin: int, end: int) -> None:
    """A while loop from begin to end, whether it was entered, and whether begin is zero."""
    out = np.zeros(3, np.int64)
    items: list[Item] = [LoadPointer(3, 0), SetImmediate(4, 0), SetImmediate(5, 1), Move(6, 1)]
    items += [
        Branch("test"),
        Label("body"),
        Add(4, 6),
        AddImmediate(6, 6, 1),
        Label("test"),
        BranchIfLess(6, 2, "body"),
    ]
    items += [
        StorePointer(4, 3),
        BranchIfLess(1, 2, "entered"),
        SetImmediate(5, 0),
        Label("entered"),
        StorePointer(5, 3, 8),
    ]
    items += [BranchIfZero(1, "zero"), Return(), Label("zero"), StorePointer(6, 3, 16), AddImmediate(6, 6, 0), Return()]
    call(items, out, begin=begin, end=end)
    last = max(begin, end)
    assert out.tolist() == [sum(range(begin, end)), int(begin < end), last if begin == 0 else 0]


@ON_X86
def test_far_branches_and_nested_loops() -> None:
    """Bodies of more than 127 bytes need the long form of a branch."""
    out = np.zeros(1, np.int64)
    add: list[Item] = [AddImmediate(5, 5, 1000)] * 40
    items: list[Item] = [LoadPointer(3, 0), SetImmediate(5, 0), SetImmediate(6, 7), Label("outer"), SetImmediate(7, 3)]
    items += [Label("inner"), *add, Loop(7, "inner"), Loop(6, "outer"), StorePointer(5, 3), Return()]
    call(items, out)
    assert out[0] == 7 * 3 * 40 * 1000


@ON_X86
def test_prefetches_never_fault() -> None:
    items: list[Item] = [SetImmediate(3, 0), *(Prefetch(3, 64, level) for level in Level), Return()]
    call(items)
    text = assemble(items, AVX512).assembly()
    assert [line.split()[0] for line in text.splitlines()[1:5]] == [
        "prefetcht0",
        "prefetcht1",
        "prefetcht2",
        "prefetchnta",
    ]


def test_only_registers_in_use_are_saved() -> None:
    def ways(items: list[Item]) -> list[str]:
        return [line.strip() for line in assemble(items, AVX512).assembly().splitlines()]

    assert ways([SetImmediate(8, 1), Return()]) == ["mov r11d, 1", "ret"]
    assert ways([SetImmediate(10, 0), Return()]) == ["push rbp", "xor ebp, ebp", "pop rbp", "ret"]
    frame = ways([StorePointer(14, STACK, 24), vector("vxorps_zmm_zero", dst=1), Return()])
    assert frame[:2] == ["push r15", "sub rsp, 0x20"]
    assert frame[-4:] == ["vzeroupper", "add rsp, 0x20", "pop r15", "ret"]
    vectors = ways([vector("vmovups_m512_zmm", dst__base=STACK, dst__disp=64, src=1), Return()])
    assert vectors[:2] == ["sub rsp, 0x80", "vmovups zmmword ptr [rsp+0x40], zmm1"]


@pytest.mark.skipif(shutil.which("as") is None, reason="GNU as is not installed")
def test_the_text_assembles_to_the_same_program(tmp_path: Path) -> None:
    text = assemble(dot_product(100), AVX512).assembly()
    (tmp_path / "kernel.s").write_text(f".intel_syntax noprefix\n{text}\n")
    subprocess.run(["as", "--64", "kernel.s", "-o", "kernel.o"], cwd=tmp_path, check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", "kernel.o", "kernel.bin"], cwd=tmp_path, check=True)
    assert disassemble((tmp_path / "kernel.bin").read_bytes()) == text


@pytest.mark.parametrize(("items", "message"), [
    ([Branch("nowhere"), Return()], "there is no label 'nowhere'"),
    ([Label("a"), Label("a"), Return()], "label 'a' stands twice"),
    ([Return(), Label("end")], "nothing comes after label 'end'"),
    ([Move(1, 2)], "the program has no Return"),
    ([Move(15, 2), Return()], "15 is no pointer register: they are 0..14"),
    ([AddImmediate(1, 2, 1 << 31), Return()], "an addend of 2147483648 does not fit 32 bits"),
    ([LoadPointer(1, 2, 1 << 31), Return()], "a displacement of 2147483648 does not fit 32 bits"),
    ([SetImmediate(1, 1 << 64), Return()], "does not fit 64 bits"),
    ([SetMask(0, 1, 2), Return()], "0 is no mask register: they are 1..7"),
    ([vector("vmovups_zmm_m512", src__base=15), Return()], "src.base = 15 is no pointer register"),
    ([vector("vmovups"), Return()], "there is no x86 entry 'vmovups'"),
])  # fmt: skip
def test_wrong_programs(items: list[Item], message: str) -> None:
    with pytest.raises(IsaError, match=message):
        assemble(items, AVX512)


def mapping(address: int) -> str:
    """The permissions of the page of an address, empty if there is none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, stop = line.split()[0].partition("-")
        if int(start, 16) <= address < int(stop, 16):
            return line.split()[1]
    return ""


@ON_X86
def test_memory_is_never_writable_and_executable() -> None:
    memory = ExecutableMemory(b"\xc3" * 5000)
    assert memory.size == 8192
    assert mapping(memory.address) == mapping(memory.address + 4999) == "r-xp"
    address = memory.address
    del memory
    assert mapping(address) != "r-xp"
    with pytest.raises(UserError, match="no code"):
        ExecutableMemory(b"")


@ON_X86
def test_functions_leave_nothing_behind() -> None:
    def maps() -> int:
        gc.collect()
        return sum("r-xp" in line for line in Path("/proc/self/maps").read_text().splitlines())

    code = assemble([SetImmediate(3, 1), Return()], AVX512).code
    before = maps()
    for _ in range(2000):
        NativeFunction(code)(pointers([]), 0, 1)
    assert maps() == before


@ON_X86
def test_calls_release_the_interpreter_lock_and_can_overlap() -> None:
    """Two threads wait inside the same function until this one, which needs the lock, lets them go."""
    items: list[Item] = [
        LoadPointer(3, 0),
        Label("spin"),
        LoadPointer(4, 3),
        BranchIfZero(4, "spin"),
        StorePointer(1, 3, 8),
        Return(),
    ]
    function = NativeFunction(assemble(items, AVX512).code)
    states = [np.zeros(2, np.int64) for _ in range(2)]
    threads = [
        threading.Thread(target=function, args=(pointers([state.ctypes.data]), number + 5, 0), daemon=True)
        for number, state in enumerate(states)
    ]
    for thread in threads:
        thread.start()
    for state in states:
        state[0] = 1
    for thread in threads:
        thread.join(30)
    assert [state[1] for state in states] == [5, 6]


def test_pointers_move_further_than_an_instruction_holds() -> None:
    """An input of 8 GB: the pointer goes back over all of it through a register."""
    product = gemm(m=4096, n=16, k=500_000, transpose_a=True, dtype="f32")
    kernel = compile_cpu(product, isa.load("avx512"), constants=("a",))
    far = [item for item in kernel.items if isinstance(item, SetImmediate) and abs(item.value) > 1 << 32]
    assert far
    assert kernel.code
