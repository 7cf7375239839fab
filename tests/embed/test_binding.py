"""Bindings: which tensor may play which operand."""

import pytest

import dataflow
from dataflow import Tensor, parse
from dataflow.computation import Computation
from embed.binding import Binding, bindings, named_accesses

SIZES = {"i": 2, "j": 3, "k": 4}


def statement(text: str, **types: str) -> Computation:
    """A statement over i, j, k whose tensors have the given types and shapes as their indices say."""
    shapes = {t.name: t.shape for t in dataflow.infer(text, SIZES, "f64").tensors}
    return parse(text, SIZES, {name: Tensor(name, dtype, shapes[name]) for name, dtype in types.items()})


def found(operator: Computation, pattern: Computation) -> list[str]:
    return [str(binding) for binding in bindings(operator, pattern)]


GEMM = statement("out[i,j] += i32(x[i,k]) * i32(w[k,j])", out="i32", x="i8", w="i8")


def test_the_multiply_commutes() -> None:
    pattern = statement("acc[i,j] += i32(a[i,k]) * i32(b[j,k])", acc="i32", a="i8", b="i8")
    assert found(GEMM, pattern) == ["out->acc x->a w->b", "out->acc w->a x->b"]


def test_types_decide_the_order() -> None:
    pattern = statement("acc[i,j] += i32(a[i,k]) * i32(b[j,k])", acc="i32", a="u8", b="i8")
    operator = statement("out[i,j] += i32(x[i,k]) * i32(w[k,j])", out="i32", x="i8", w="u8")
    assert found(operator, pattern) == ["out->acc w->a x->b"]
    assert found(GEMM, pattern) == []


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("acc[i,j] += a[i,k] * b[j,k]", {"acc": "f32", "a": "f32", "b": "f32"}),
        ("acc[i,j] += i32(a[i,k] * b[j,k])", {"acc": "i32", "a": "i8", "b": "i8"}),
        ("acc[i,j] += i32(a[i,k]) + i32(b[j,k])", {"acc": "i32", "a": "i8", "b": "i8"}),
        ("acc[i,j] = i32(a[i,k]) * i32(b[j,k])", {"acc": "i32", "a": "i8", "b": "i8"}),
        ("acc[i,j] += i32(i16(a[i,k])) * i32(b[j,k])", {"acc": "i32", "a": "i8", "b": "i8"}),
        ("acc[i,j] += i32(a[i,k]) * 3", {"acc": "i32", "a": "i8"}),
    ],
)
def test_a_body_that_differs_binds_nothing(text: str, types: dict[str, str]) -> None:
    assert bindings(GEMM, statement(text, **types)) == ()


def test_a_constant_must_be_equal() -> None:
    operator = statement("out[i] = max(x[i], 0)", out="i8", x="i8")
    assert found(operator, statement("d[i] = max(0, s[i])", d="i8", s="i8")) == ["out->d x->s"]
    assert found(operator, statement("d[i] = max(s[i], 1)", d="i8", s="i8")) == []


def test_subtraction_does_not_commute() -> None:
    operator = statement("out[i] = x[i] - y[i]", out="i8", x="i8", y="i8")
    assert found(operator, statement("d[i] = s[i] - t[i]", d="i8", s="i8", t="i8")) == ["out->d x->s y->t"]


def test_an_operand_read_twice_needs_a_tensor_read_twice() -> None:
    square = statement("d[i] = s[i] * s[i]", d="i8", s="i8")
    assert found(statement("out[i] = x[i] * x[i]", out="i8", x="i8"), square) == ["out->d x->s"]
    assert found(statement("out[i] = x[i] * y[i]", out="i8", x="i8", y="i8"), square) == []


def test_an_operand_read_twice_is_read_at_one_place() -> None:
    neighbours = statement("d[i] = s[i] * s[i+1]", d="i8", s="i8")
    assert found(statement("out[i] = x[i] * x[i+1]", out="i8", x="i8"), neighbours) == []
    square = statement("d[i] = s[i] * s[i]", d="i8", s="i8")
    assert found(statement("out[i] = x[i] * x[i+1]", out="i8", x="i8"), square) == []


PATTERN = statement("acc[i,j] += i32(a[i,k]) * i32(b[j,k])", acc="i32", a="i8", b="i8")


def test_a_tensor_read_twice_plays_two_operands() -> None:
    gram = statement("out[i,j] += i32(x[i,k]) * i32(x[j,k])", out="i32", x="i8")
    assert found(gram, PATTERN) == ["out->acc x->a x.2->b", "out->acc x.2->a x->b"]
    assert {name: str(read) for name, read in named_accesses(gram).items()} == {
        "out": "out[i,j]",
        "x": "x[i,k]",
        "x.2": "x[j,k]",
    }


def test_equal_reads_make_one_binding() -> None:
    square = statement("out[i,j] += i32(x[i,k]) * i32(x[i,k])", out="i32", x="i8")
    assert found(square, PATTERN) == ["out->acc x->a x.2->b"]


def test_nested_orders_multiply() -> None:
    pattern = statement("d[i] = s[i] + t[i] * u[i]", d="i8", s="i8", t="i8", u="i8")
    operator = statement("out[i] = x[i] * y[i] + z[i]", out="i8", x="i8", y="i8", z="i8")
    assert found(operator, pattern) == ["out->d z->s x->t y->u", "out->d z->s y->t x->u"]


def test_both_directions() -> None:
    binding = Binding((("acc", "out"), ("a", "x")))
    assert binding.tensors == {"acc": "out", "a": "x"}
    assert binding.operands == {"out": "acc", "x": "a"}
