"""Threads that share work: every part is done once and before the call returns, whoever slept, called or forked."""

import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import isa
from embed.cpu.assembler.aarch64 import assemble as assemble_arm
from embed.cpu.assembler.control import (
    Add,
    AddImmediate,
    BranchIfLess,
    Item,
    Label,
    LoadPointer,
    MultiplyImmediate,
    Return,
    SetImmediate,
    StorePointer,
)
from embed.cpu.runner import emulator, team
from embed.cpu.runner.machine import load, machine_of

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the code is for x86-64")
TARGET = isa.load("avx2")

COUNT = (
    LoadPointer(0, 0, 0),
    MultiplyImmediate(3, 1, 8),
    Add(0, 3),
    Label("next"),
    LoadPointer(3, 0, 0),
    AddImmediate(3, 3, 1),
    StorePointer(3, 0, 0),
    AddImmediate(0, 0, 8),
    AddImmediate(1, 1, 1),
    BranchIfLess(1, 2, "next"),
    Return(),
)
"""`f(tensors, begin, end)` adds 1 to the words `begin` to `end` of its array."""


def assemble(items: Sequence[Item]) -> bytes:
    return machine_of(TARGET).assemble(items, TARGET).code


@X86
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_part_is_done_once_before_the_call_returns(threads: int) -> None:
    words = np.zeros(60, np.int64)
    call = load(TARGET, machine_of(TARGET).assemble(COUNT, TARGET))([words])
    for times in range(1, 200):
        call([part * 60 // threads for part in range(threads + 1)])
        assert (words == times).all()


@X86
def test_helpers_that_sleep_are_roused() -> None:
    words = np.zeros(2, np.int64)
    call = load(TARGET, machine_of(TARGET).assemble(COUNT, TARGET))([words])
    for times in range(1, 6):
        call((0, 1, 2))
        assert (words == times).all()
        time.sleep(0.02)


@X86
def test_a_caller_who_finds_the_helpers_busy_does_all_itself() -> None:
    together = team.Team(1, assemble)
    own = np.zeros((4, 40), np.int64)
    calls = [load(TARGET, machine_of(TARGET).assemble(COUNT, TARGET))([row]) for row in own]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda call: [call((0, 20, 40)) for _ in range(500)], calls))
    assert (own == 500).all()
    assert together is not team.team(2, assemble) is team.team(2, assemble)


def served(before: Sequence[Item], program: Sequence[Item], mailbox: np.ndarray) -> np.ndarray:
    """The words after a program for AArch64 ran with the mailbox and COUNT's code in memory."""
    target = isa.load("neon")
    words = np.zeros(8, np.int64)
    code = np.frombuffer(assemble_arm(COUNT, target).code, np.uint8).copy()
    pointer_to_words = np.zeros(1, np.int64)
    fill = [
        *(LoadPointer(number, 0, 8 * number) for number in (3, 2, 1)),
        StorePointer(3, 2, 0),
        LoadPointer(4, 0, 0),
        StorePointer(1, 4, 8),
        StorePointer(2, 4, 16),
    ]
    emulator.run(assemble_arm([*fill, *before, *program], target), [mailbox, code, pointer_to_words, words])
    return words


@pytest.mark.skipif(emulator.missing(), reason="unicorn is not installed")
def test_the_helper_of_an_arm_machine_serves_what_was_posted() -> None:
    mailbox = np.zeros(32, np.int64)
    mailbox[[0, 3, 4]] = 3, 2, 6
    words = served([LoadPointer(0, 0, 0), SetImmediate(1, 5)], team.serving(), mailbox)
    assert words.tolist() == [0, 0, 3, 3, 3, 3, 0, 0]
    assert mailbox[16] == 3


@pytest.mark.skipif(emulator.missing(), reason="unicorn is not installed")
def test_the_caller_on_an_arm_machine_posts_works_and_does_not_wait_for_ever() -> None:
    mailbox = np.zeros(32, np.int64)
    mailbox[[3, 4]] = 1, 3
    both = [SetImmediate(1, 7), LoadPointer(3, 0, 0), StorePointer(3, 0, 8)]
    words = served(both, team.leading(1), mailbox)
    assert words.tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert mailbox[0] == 1
