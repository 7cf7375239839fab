"""The passes of an epilogue: found by their patterns, refused with what the ISA lacks, exact in every execution."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow
import embed
import isa
from dataflow import Operator, Tensor, conv2d, evaluate, gemm, parse, requantise
from embed.epilogue import Pass, plan
from embed.errors import NoEmbedding
from embed.vta.checker import check
from tests.operators import inputs

VTA = isa.load("vta")
SIZES = {"i": 5, "j": 20}


def followed_by(*texts: str, dtype: str = "i8") -> Operator:
    """A matrix product whose sums `acc[i,j]` go through statements; each writes a tensor of the next name."""
    main = gemm(m=5, n=20, k=9).main
    sums = Tensor("acc", "i32", (5, 20))
    first = parse("acc[m,n] += i32(a[m,k]) * i32(b[k,n])", main.extents, {"acc": sums, **named(*main.inputs)})
    known = {
        "acc": sums,
        "bias": Tensor("bias", "i32", (20,)),
        "row": Tensor("row", "i8", (5,)),
        "full": Tensor("full", "i32", (5, 20)),
        "a": Tensor("a", "i8", (5, 9)),
        "t": Tensor("t", "i32", (5, 20)),
        "out": Tensor("out", dtype, (5, 20)),
    }
    return Operator("test", (first, *(parse(text, SIZES, known) for text in texts)))


def named(*tensors: Tensor) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in tensors}


def steps(operator: Operator) -> list[str]:
    return [f"{step.instruction} {step.operand or step.immediate}" for step in plan(operator, VTA).passes]


@pytest.mark.parametrize(
    ("texts", "passes"),
    [
        (["out[i,j] = i8(acc[i,j])"], []),
        (["out[i,j] = i8(acc[i,j] >> 8)"], ["alu_shr_imm 8"]),
        (["out[i,j] = i8(acc[i,j] >> -3)"], ["alu_shr_imm -3"]),
        (["out[i,j] = i8(min(max(acc[i,j], 0), 127))"], ["alu_max_imm 0", "alu_min_imm 127"]),
        (["out[i,j] = i8(max(-5, acc[i,j]))"], ["alu_max_imm -5"]),
        (["out[i,j] = i8(3 + acc[i,j])"], ["alu_add_imm 3"]),
        (["out[i,j] = i8(acc[i,j] + bias[j])"], ["alu_add_reg bias[n]"]),
        (["out[i,j] = i8(bias[j] + acc[i,j])"], ["alu_add_reg bias[n]"]),
        (["out[i,j] = i8(max(acc[i,j], i32(row[i])))"], ["alu_max_reg row[m]"]),
        (["out[i,j] = i8(min(acc[i,j], full[i,j]) >> 4)"], ["alu_min_reg full[m,n]", "alu_shr_imm 4"]),
        (["t[i,j] = acc[i,j] + bias[j]", "out[i,j] = i8(t[i,j] >> 2)"], ["alu_add_reg bias[n]", "alu_shr_imm 2"]),
        (["out[i,j] = i8(i16(acc[i,j] >> 1))"], ["alu_shr_imm 1"]),
    ],
)  # fmt: skip
def test_passes_follow_the_expression_from_the_inside_out(texts: list[str], passes: list[str]) -> None:
    assert steps(followed_by(*texts)) == passes


@pytest.mark.parametrize(
    ("amount", "parts"),
    [(15, [15]), (16, [15, 1]), (20, [15, 5]), (31, [15, 15, 1]), (-15, [-15]), (-20, [-15, -5])],
)
def test_wide_shifts_are_split(amount: int, parts: list[int]) -> None:
    """The HLS core keeps a signed 5-bit amount (tvm-vta, vta.cc)."""
    found = plan(followed_by(f"out[i,j] = i8(acc[i,j] >> {amount})"), VTA).passes
    assert list(found) == [Pass("alu_shr_imm", "shr", part) for part in parts]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("out[i,j] = i8(acc[i,j] - 1)", "vta has no element-wise 'sub' for the epilogue; it has: add, max, min, shr"),
        ("out[i,j] = i8(acc[i,j] * 3)", "no element-wise 'mul'"),
        ("out[i,j] = i8(acc[i,j] * bias[j])", "no element-wise 'mul'"),
        ("out[i,j] = i8(acc[i,j] >> bias[j])", "no element-wise 'shr'"),
        ("out[i,j] = i8(7 >> acc[i,j])", "needs the sums on the left of 'shr'"),
        ("out[i,j] = i8(bias[j])", "cannot compute the epilogue"),
        ("out[i,j] = i8(acc[i,j] + acc[i,j])", "takes a number or a tensor element as the second operand of 'add'"),
        ("out[i,j] = i8(acc[i,j] + (bias[j] >> 1))", "takes a number or a tensor element"),
        ("out[i,j] = i8(acc[i,j] + 40000)", "alu_add_imm of vta takes no immediate 40000 in the epilogue"),
        ("out[i,j] = i8(i32(i8(acc[i,j])) >> 1)", "cannot compute the epilogue"),
        ("out[i,j] = max(i8(acc[i,j]), 0)", "cannot compute the epilogue"),
        ("out[i,j] = i8(-acc[i,j])", "cannot compute the epilogue"),
    ],
)
def test_what_vta_cannot_do_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NoEmbedding, match=reason.replace("(", r"\(")) as raised:
        plan(followed_by(text), VTA)
    assert raised.value.exit_code == 1
    with pytest.raises(NoEmbedding):
        embed.best(followed_by(text), VTA)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("out[0,j] = acc[i,j]", r"must write each element of acc: i32\[5, 20\] once, in the same place"),
        ("out[i,j] += acc[i,j]", "must write each element"),
    ],
)
def test_an_epilogue_keeps_every_element_in_its_place(text: str, reason: str) -> None:
    with pytest.raises(NoEmbedding, match=reason):
        plan(followed_by(text, dtype="i32"), VTA)


def test_what_an_immediate_may_be_is_what_its_field_holds(tmp_path: Path) -> None:
    text = VTA.path.read_text().replace(" imm:signed(16)", " value:signed(16)")
    text = text.replace('in = "field", type', 'in = "field", at = "value", type')
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(NoEmbedding, match="alu_add_imm of vta takes no immediate 40000"):
        plan(followed_by("out[i,j] = i8(acc[i,j] + 40000)"), isa.load(str(tmp_path / "mine.toml")))


def test_a_turned_epilogue_is_refused() -> None:
    operator = gemm(m=4, n=4, k=4)
    tensors = {"t": Tensor("t", "i8", (4, 4)), "out": operator.main.tensors[0]}
    turned = parse("t[j,i] = i8(out[i,j])", {"i": 4, "j": 4}, tensors)
    with pytest.raises(NoEmbedding, match="cannot compute the epilogue"):
        plan(Operator("turned", (operator.main, turned)), VTA)


def test_holes_in_the_sums_are_refused() -> None:
    sums = dataflow.infer("out[2*i,j] += a[i,k] * b[k,j]", {"i": 3, "j": 4, "k": 5}, "i8")
    operator = requantise(Operator("expr", (sums,)))
    with pytest.raises(NoEmbedding, match=r"leaves elements of acc: i32\[5, 4\] unwritten"):
        plan(operator, VTA)
    plain = Operator("expr", (sums,))
    arrays = inputs(plain)
    assert np.array_equal(embed.compile(plain, VTA)(**arrays), evaluate(plain, arrays))


def test_only_the_last_statement_narrows() -> None:
    main = followed_by("out[i,j] = i8(acc[i,j])")
    again = parse("two[i,j] = max(out[i,j], 0)", SIZES, {"two": Tensor("two", "i8", (5, 20)), **named(main.output)})
    with pytest.raises(NoEmbedding, match="only the last statement of an epilogue may narrow"):
        plan(Operator("test", (*main.statements, again)), VTA)


@pytest.mark.parametrize(("dtype", "planes"), [("i8", 1), ("u8", 1), ("i16", 2), ("i32", 4), ("i64", 8)])
def test_wide_results_leave_as_byte_planes(dtype: str, planes: int) -> None:
    operator = followed_by(f"out[i,j] = {dtype}(acc[i,j] >> 3)", dtype=dtype)
    found = plan(operator, VTA)
    assert found.planes == planes
    assert found.between == ((Pass("alu_shr_imm", "shr", 8),) if planes > 1 else ())
    runs_exactly(operator)


def test_what_no_store_writes_is_refused() -> None:
    with pytest.raises(NoEmbedding, match=r"vta cannot store f32 results; it stores \[8\] bits"):
        plan(gemm(m=2, n=2, k=2, dtype="f32"), VTA)


def test_one_read_is_packed_once_and_two_reads_twice() -> None:
    twice = plan(followed_by("out[i,j] = i8(max(acc[i,j] + bias[j], bias[j]))"), VTA)
    assert list(twice.extras) == ["bias"]
    other = plan(followed_by("out[i,j] = i8(max(acc[i,j] + full[i,j], full[i,19-j]))"), VTA)
    assert {name: str(read) for name, read in other.extras.items()} == {"full": "full[m,n]", "full.2": "full[m,-n+19]"}
    runs_exactly(followed_by("out[i,j] = i8(max(acc[i,j] + full[i,j], full[i,19-j]))"))


def test_an_input_of_the_product_may_be_added_too() -> None:
    operator = followed_by("out[i,j] = i8(acc[i,j] + i32(a[i,j-4]))")
    assert list(plan(operator, VTA).extras) == ["a.2"]
    runs_exactly(operator)


values = st.integers(-300, 300)
numbers = st.one_of(
    values.map(lambda value: f"{value}"),
    st.sampled_from(["bias[j]", "i32(row[i])", "full[i,j]", "bias[j-3]", "i32(a[i,j])", "full[i,19-j]"]),
)


@st.composite
def epilogues(draw: st.DrawFn) -> Operator:
    """A random chain of what VTA's ALU does, in one or two statements."""
    texts, value = [], "acc[i,j]"
    dtype = draw(st.sampled_from(["i8", "i8", "u8", "i16", "i32"]))
    for name in draw(st.sampled_from([["out"], ["t", "out"]])):
        for _ in range(draw(st.integers(0, 3))):
            operation = draw(st.sampled_from(["+", "min", "max", ">>"]))
            other = draw(st.integers(-12, 31).map(str) if operation == ">>" else numbers)
            left, right = (value, other) if draw(st.booleans()) or operation == ">>" else (other, value)
            value = f"({left} {operation} {right})" if operation in ("+", ">>") else f"{operation}({left}, {right})"
        texts.append(f"{name}[i,j] = {value if name == 't' or dtype == 'i32' else f'{dtype}({value})'}")
        value = "t[i,j]"
    return followed_by(*texts, dtype=dtype)


@settings(max_examples=60, deadline=None)
@given(epilogues())
def test_random_epilogues_are_exact(operator: Operator) -> None:
    runs_exactly(operator)


def runs_exactly(operator: Operator) -> None:
    kernel = embed.compile(operator, VTA)
    arrays = inputs(operator)
    reference = evaluate(operator, arrays)
    assert np.array_equal(kernel(**arrays), reference)
    assert np.array_equal(kernel.unpack(kernel.expected(arrays)), reference)
    assert check(kernel.bind(arrays), kernel.machine) == []


def test_a_convolution_with_a_bias_for_each_channel() -> None:
    runs_exactly(requantise(conv2d(n=2, c=5, h=6, w=5, k=18, r=3, s=2, pad=1), bias=True, relu=True, shift=17))
