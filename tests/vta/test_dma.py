"""Transfers of a box move just the box, zeros included, whatever is merged and split on the way."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import embed
import isa
from dataflow import conv2d
from embed.layout import Layout, derive
from embed.vta.dma import Transfer, transfers
from tests.operators import inputs


def moved(layout: Layout, packed: np.ndarray, moves: list[Transfer], words: int) -> np.ndarray:
    """Do the transfers word by word, as VTA's LOAD is specified."""
    source = packed.reshape(layout.words, -1)
    tile = np.full((words, source.shape[1]), 99, source.dtype)
    for move in moves:
        width = move.x_pad[0] + move.x_size + move.x_pad[1]
        image = np.zeros((move.y_pad[0] + move.y_size + move.y_pad[1], width, source.shape[1]), source.dtype)
        for y in range(move.y_size):
            first = move.external + y * move.x_stride
            image[move.y_pad[0] + y, move.x_pad[0] : move.x_pad[0] + move.x_size] = source[first : first + move.x_size]
        tile[move.local : move.local + move.local_words] = image.reshape(-1, source.shape[1])
    return tile


@given(st.data())
def test_a_box_with_padding(data: st.DataObject) -> None:
    operator = conv2d(n=2, c=32, h=7, w=6, k=16, r=3, s=3, pad=data.draw(st.integers(0, 2)))
    layout = derive(embed.best(operator, isa.load("vta")).embedding)["inp"]
    packed = layout.pack(inputs(operator)["inp"])
    pads = [(axis.before, axis.after) for axis in layout.axes]
    full = np.pad(packed, [*pads, *[(0, 0)] * (packed.ndim - len(pads))])
    box = []
    for axis in layout.axes:
        start = data.draw(st.integers(0, axis.span - 1))
        stop = data.draw(st.integers(start + 1, axis.span))
        if start >= axis.before + axis.extent or stop <= axis.before:
            start, stop = 0, axis.span
        box.append(range(start, stop))
    longest = data.draw(st.sampled_from([7, 20, 2047]))
    moves = transfers(layout, box, max(longest, 8 + 2 * max(axis.before for axis in layout.axes)))
    wanted = full[tuple(slice(span.start, span.stop) for span in box)]
    words = int(np.prod([len(span) for span in box]))
    assert np.array_equal(moved(layout, packed, moves, words), wanted.reshape(words, -1))
    assert all(move.y_size >= 1 and move.x_size >= 1 for move in moves)
