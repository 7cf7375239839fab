"""Operators, embeddings and schedules through JSON text: equal if it is whole, refused with one message if not."""

import contextlib
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regular import SMALL, TARGETS, embeddings

import dataflow
import embed
import isa
from dataflow import Operator, UserError, conv2d, gemm, requantise, serial
from embed.nest import Schedule
from embed.serial import embedding_from_json, embedding_to_json, schedule_from_json, schedule_to_json
from tests.operators import quantised


def through_text(value: Any) -> Any:
    return json.loads(json.dumps(value))


@settings(max_examples=40, deadline=None)
@given(quantised())
def test_operators_come_back_equal(operator: Operator) -> None:
    assert serial.from_json(through_text(serial.to_json(operator))) == operator


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_embeddings_come_back_equal(data: st.DataObject) -> None:
    target = data.draw(st.sampled_from(TARGETS))
    embedding = data.draw(embeddings(data.draw(quantised()), target))
    again = embedding_from_json(through_text(embedding_to_json(embedding)), target)
    assert again == embedding
    assert str(again) == str(embedding)
    assert again.instruction.pads == embedding.instruction.pads


def test_two_reads_of_a_tensor_come_back_apart() -> None:
    operator = Operator("gram", (dataflow.infer("out[i,j] += x[i,k] * x[j,k]", {"i": 6, "j": 6, "k": 9}, "i8"),))
    for solution in embed.alternatives(operator, SMALL):
        assert embedding_from_json(through_text(embedding_to_json(solution.embedding)), SMALL) == solution.embedding


@given(
    st.dictionaries(st.text(), st.integers(1, 1 << 40), max_size=6).flatmap(
        lambda tiles: st.builds(Schedule, st.just(tiles), st.permutations(list(tiles)).map(tuple), BUFFERS, BUFFERS)
    )
)
def test_schedules_come_back_equal(schedule: Schedule) -> None:
    assert schedule_from_json(through_text(schedule_to_json(schedule))) == schedule


BUFFERS = st.integers(1, 3)
OPERATOR = requantise(conv2d(c=3, h=5, w=4, k=5, r=2, s=3, stride=2, pad=1), bias=True)
EMBEDDING = embed.best(OPERATOR, SMALL).embedding
SCHEDULE = Schedule({"k_o": 2, "y": 3}, ("y", "k_o"), 2, 1)
JUNK = (None, -1, 0, 2.5, 1 << 70, "", "q", "k_o", [], ["n"], {}, {"n": 1}, True, "out[i] = ")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, the whole first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


def damaged(draw: st.DrawFn, value: Any) -> Any:
    """The value with one or two of its parts missing, doubled or replaced."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            value = copy.deepcopy(draw(st.sampled_from(JUNK)))
            continue
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        match draw(st.sampled_from(["remove", "replace", "double"])):
            case "remove":
                del holder[path[-1]]
            case "double" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[path[-1]]))
            case _:
                holder[path[-1]] = copy.deepcopy(draw(st.sampled_from(JUNK)))
    return value


damaged_values = st.composite(damaged)


def reads_or_refuses(read: Callable[[Any], object], value: Any) -> None:
    """Whatever the value, there is an object or a UserError."""
    with contextlib.suppress(UserError):
        read(value)


@settings(max_examples=250, deadline=None)
@given(damaged_values(serial.to_json(OPERATOR)))
def test_damaged_operators_are_refused(value: Any) -> None:
    reads_or_refuses(serial.from_json, value)


@settings(max_examples=250, deadline=None)
@given(damaged_values(embedding_to_json(EMBEDDING)))
def test_damaged_embeddings_are_refused(value: Any) -> None:
    reads_or_refuses(lambda value: embedding_from_json(value, SMALL), value)


@settings(max_examples=100, deadline=None)
@given(damaged_values(schedule_to_json(SCHEDULE)))
def test_damaged_schedules_are_refused(value: Any) -> None:
    reads_or_refuses(schedule_from_json, value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"digits": [{"lane": "o", "dims": ["c"], "radix": 3}]},
            "not a saved embedding: CheckError (sharing|accumulation)",
        ),
        ({"digits": [{"lane": "o", "dims": ["k"], "radix": 8}]}, "not a saved embedding: CheckError capacity"),
        ({"digits": [{"lane": "o", "dims": ["k"]}]}, "not a saved embedding: KeyError 'radix'"),
        ({"binding": [["acc", "acc"], ["inp", "wgt"], ["wgt", "bias"]]}, "not a saved embedding: CheckError labels"),
        ({"instruction": "finish"}, "finish of vta has no pattern, so nothing can be placed with it"),
        ({"instruction": "gem"}, "'gem'"),
        ({"operator": {"name": "none", "parameters": [], "statements": []}}, "ValueError it has no statement"),
        ({"digits": [{"lane": "o", "dims": ["k"], "radix": float("inf")}]}, "not a saved embedding: OverflowError"),
    ],
)
def test_what_is_wrong_with_an_embedding(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        embedding_from_json(embedding_to_json(EMBEDDING) | change, SMALL)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"buffers": 0}, "one tile of at least 1 for each loop"),
        ({"tiles": {"k_o": 0, "y": 3}}, "one tile of at least 1 for each loop"),
        ({"order": ["y"]}, "one tile of at least 1 for each loop"),
        ({"tiles": []}, "not a saved schedule: AttributeError"),
        ({"buffers": "two"}, "not a saved schedule: ValueError"),
    ],
)
def test_what_is_wrong_with_a_schedule(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        schedule_from_json(schedule_to_json(SCHEDULE) | change)


def test_an_embedding_of_another_shape_is_refused() -> None:
    wide = embed.best(gemm(m=3, n=64, k=64), isa.load("vta")).embedding
    with pytest.raises(UserError, match="not a saved embedding: CheckError capacity"):
        embedding_from_json(embedding_to_json(wide), SMALL)
