"""The table model: each constraint on the smallest instance that it allows and the smallest that it forbids."""

from types import ModuleType

import pytest

import dataflow
from dataflow.computation import Computation
from embed.binding import bindings
from embed.solver.tables import (
    NotSeparableError,
    Problem,
    Tables,
    accumulation,
    box,
    embeddings,
    inside,
    lane_groups,
    once,
    sharing,
    solutions,
)


def statement(text: str, **extents: int) -> Computation:
    return dataflow.infer(text, extents, "i8")


def tables(operator: Computation, pattern: Computation) -> Tables:
    return Tables.of(Problem.of(operator, pattern, bindings(operator, pattern)[0]))


def count(model: Tables, *constraints: ModuleType) -> int:
    for constraint in constraints:
        constraint.add(model)
    return len(solutions(model))


BROADCAST = statement("acc[l] += a[l] * b", l=2)
DOT = statement("acc += a[k] * b[k]", k=2)


def test_sharing_keeps_the_element_of_an_operand_that_lacks_the_dim() -> None:
    gemv = statement("out[i] += x[i,k] * w[k]", i=2, k=2)
    model = tables(gemv, BROADCAST)
    move = model.tables["b", (), (1,)]
    model.model.add(move[0] == 1)
    assert count(model, sharing) == 4
    model.model.add(move[1] == 1)
    assert count(model) == 0


def test_accumulation_tells_accumulators_apart() -> None:
    assert count(tables(statement("out[i] += x[i] * w", i=2), BROADCAST), box, accumulation) == 2
    assert count(tables(statement("out += x[i] * w[i]", i=2), BROADCAST), box, accumulation) == 0


def test_once_needs_as_many_points_as_lanes() -> None:
    assert count(tables(statement("out += x[k] * w[k]", k=2), DOT), box, once) == 2
    assert count(tables(statement("out += x[k] * w[k]", k=1), DOT), box, once) == 0


def test_box_keeps_every_lane_in_it() -> None:
    model = tables(statement("out += x[k] * w[k]", k=2), DOT)
    model.model.add(model.tables["acc", (), (1,)][0] == 1)
    assert count(model, box) == 1
    model.model.add(model.base[()][0] == 1)
    assert count(model) == 0


def test_inside_leaves_out_points_that_read_padding() -> None:
    one = statement("acc += a[k] * b[k]", k=1)
    assert count(tables(dataflow.conv1d(c=1, w=1, k=1, s=1, pad=1).main, one), box, inside) == 1
    assert count(tables(dataflow.conv1d(c=1, w=1, k=1, s=2, pad=1).main, one), box, inside) == 2
    outside = dataflow.parse(
        "out[x] += i32(inp[x+1]) * i32(wgt)",
        {"x": 1},
        {t.name: t for t in statement("out[x] += inp[x] * wgt", x=1).tensors},
    )
    assert count(tables(outside, one), box, inside) == 0


def test_an_index_that_is_constant() -> None:
    operator = statement("out[i,0] += x[0,i] * w[1]", i=2)
    assert [e.images for e in embeddings(operator, BROADCAST, bindings(operator, BROADCAST)[1])] == []
    found = {e.images for e in embeddings(operator, BROADCAST, bindings(operator, BROADCAST)[0])}
    assert found == {((0,), (1,)), ((1,), (0,))}


def test_groups_by_the_operand_that_lacks() -> None:
    batch, groups = lane_groups(statement("acc[b,i,j] += x[b,i,k,l] * y[b,j,k,l]", b=2, i=2, j=2, k=2, l=2))
    assert batch == ("b",)
    assert groups == {"acc": ("k", "l"), "x": ("j",), "y": ("i",)}


def test_a_digit_of_a_flattened_pattern_is_a_dim_of_its_own() -> None:
    assert lane_groups(statement("acc[2*i+j] += x[i] * y[j]", i=2, j=2))[1] == {"acc": (), "x": ("j",), "y": ("i",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acc[i] += a[i,k] * b[i]", "b both lack 'k'"),
        ("acc[i+k] += a[i] * b[k]", "acc[i+k] is one element for several i,k"),
        ("acc[i] += a[i] * a[i]", "accesses 'a' more than once"),
        ("acc[i] = acc[i] + a[i]", "accesses 'acc' more than once"),
        ("acc[i] += a[j] * b[j]", "a and b both lack 'i'"),
    ],
)
def test_a_pattern_that_is_not_a_contraction_is_refused(text: str, message: str) -> None:
    with pytest.raises(NotSeparableError) as caught:
        lane_groups(statement(text, **{dim: 2 for dim in "ijk" if dim in text}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_operator_whose_moves_do_not_add_up_is_refused() -> None:
    operator = statement("out[i,j,n] += x[i,k] * w[k,j]", i=2, j=2, k=2, n=2)
    pattern = statement("acc[i,j] += a[i,k] * b[j,k]", i=2, j=2, k=2)
    with pytest.raises(NotSeparableError, match="neither x nor w sees a move along n"):
        embeddings(operator, pattern, bindings(operator, pattern)[0])


def test_a_pattern_of_one_lane_finds_every_point() -> None:
    operator = dataflow.conv1d(c=2, w=4, k=2, s=2).main
    one = statement("acc += a[k] * b[k]", k=1)
    assert len(embeddings(operator, one, bindings(operator, one)[0])) == operator.points
