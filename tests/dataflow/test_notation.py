"""The index notation: exact round trips, and errors that point at the column."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow
from dataflow import Computation, Dim, NotationError, Tensor, infer, parse
from dataflow.affine import Affine
from dataflow.dtypes import is_integer, limits
from dataflow.expression import ARITY, Apply, Cast, Const, Expression, Read, map_reads

EXTENTS = {"i": 3, "j": 4, "k_1": 2}
TYPES = ("i8", "u8", "i32", "i5", "f32", "bf16")
TENSORS = {
    **{f"v_{dtype}": Tensor(f"v_{dtype}", dtype, (40,)) for dtype in TYPES},
    **{f"m_{dtype}": Tensor(f"m_{dtype}", dtype, (30, 30)) for dtype in TYPES},
    **{f"s_{dtype}": Tensor(f"s_{dtype}", dtype, ()) for dtype in TYPES},
}

affines = st.builds(
    Affine.of, st.lists(st.tuples(st.sampled_from(list(EXTENTS)), st.integers(-3, 3)), max_size=3), st.integers(-5, 5)
)


def read_of(dtype: str) -> st.SearchStrategy[Expression]:
    vector = st.builds(lambda i: Read(f"v_{dtype}", (i,)), affines)
    matrix = st.builds(lambda i, j: Read(f"m_{dtype}", (i, j)), affines, affines)
    return st.one_of(vector, matrix, st.just(Read(f"s_{dtype}", ())))


def literal_of(dtype: str) -> st.SearchStrategy[Expression]:
    if is_integer(dtype):
        return st.integers(*limits(dtype)).map(Const)
    return st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)).map(Const)


def expression_of(dtype: str, depth: int) -> st.SearchStrategy[Expression]:
    """Expressions of one type; a literal stands beside something that has the type."""
    if not depth:
        return read_of(dtype)
    inner = expression_of(dtype, depth - 1)
    either = st.one_of(inner, literal_of(dtype))
    unary = st.sampled_from([name for name, arity in ARITY.items() if arity == 1])
    binary = st.sampled_from([name for name, arity in ARITY.items() if arity == 2])
    return st.one_of(
        read_of(dtype),
        st.builds(lambda name, a: Apply(name, (a,)), unary, either),
        st.builds(lambda name, a, b: Apply(name, (a, b)), binary, inner, either),
        st.builds(lambda name, a, b: Apply(name, (a, b)), binary, either, inner),
        st.builds(lambda a, b, c: Apply("fma", (a, b, c)), either, inner, either),
        st.sampled_from(TYPES).flatmap(lambda other: expression_of(other, depth - 1)).map(lambda a: Cast(dtype, a)),
    )


@st.composite
def computations(draw: st.DrawFn) -> Computation:
    dtype = draw(st.sampled_from(TYPES))
    body = draw(expression_of(dtype, 3))
    output = draw(
        st.sampled_from([Read("o", (Affine((("i", 1),)), Affine((("j", 2), ("k_1", -1)), 1))), Read("o", ())])
    )
    tensors = {"o": Tensor("o", dtype, (3, 8) if output.index else ())}
    for read in (r for r in _reads(body)):
        tensors[read.tensor] = TENSORS[read.tensor]
    dims = tuple(Dim(name, extent) for name, extent in EXTENTS.items())
    return Computation(dims, tuple(tensors.values()), output, draw(st.booleans()), body)


def _reads(body: Expression) -> list[Read]:
    found: list[Read] = []
    map_reads(body, lambda read: found.append(read) or read)
    return found


@given(computations())
@settings(max_examples=300, deadline=None)
def test_what_is_printed_is_read_back(computation: Computation) -> None:
    text = str(computation)
    again = parse(text, EXTENTS, {tensor.name: tensor for tensor in computation.tensors})
    assert again == computation
    assert str(again) == text


@pytest.mark.parametrize(
    "text",
    [
        "out[n,k,y,x] += i32(inp[n,c,2*y+r-1,2*x+s-1]) * i32(wgt[k,c,r,s])",
        "o = a[i] - (b[i] - c[i])",
        "o = a[i] - b[i] - c[i]",
        "o[i] = -(-a[i])",
        "o[i] = -a[i] * (-3)",
        "o[i] = a[i] - -3",
        "o[i] = neg(3) + a[i]",
        "o[i] = (a[i] + b[i]) * c[i] >> 2",
        "o[i] = a[i] >> (b[i] >> 1)",
        "o[i] = a[i] << b[i] + 1",
        "o[i] = fma(a[i], 0.1, -2.5e-07)",
        "o[i] = min(max(a[-i+2], 0), 6)",
        "o[i,0] = a[-3*i+9] * s",
    ],
)
def test_text_is_printed_as_it_was_written(text: str) -> None:
    extents = dict.fromkeys("nkyxcrs" if "inp" in text else "i", 3)
    assert str(infer(text, extents, "i8" if "inp" in text else "f64")) == text


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("o[ i,j ]=a[j+i+i] ", "o[i,j] = a[j+2*i]"),
        ("  o[i] += a[i,] * (((b[i])))", "o[i] += a[i] * b[i]"),
        ("o[i] = a[i - i + 1] + -0", "o[i] = a[1] + 0"),
        ("o[i] = a[2*(i-1)+3]", "o[i] = a[2*i+1]"),
        ("o[i] = mul(a[i], add(b[i], 2))", "o[i] = a[i] * (b[i] + 2)"),
        ("o[i] = (a[i]\n  + b[i])", "o[i] = a[i] + b[i]"),
    ],
)
def test_other_spellings_print_in_one_form(written: str, printed: str) -> None:
    assert str(infer(written, {"i": 2, "j": 2}, "f64")) == printed


WRONG = [
    ("o[i] = a[q]", "index 'q' has no size; sizes are given for: i, j", 10),
    ("  o[i] = a[q]", "index 'q' has no size", 12),
    ("o[i] = a[i*j]", "a dim times a dim", 10),
    ("o[i] = a[i/2]", "an index is a sum of integer multiples", 10),
    ("o[i] = a[1.5*i]", "an index is a sum of integer multiples", 10),
    ("o[i] = b[i]", "unknown tensor 'b'; declared are: o, a, c, w", 8),
    ("o[i] = i * a[i]", "'i' is an index, not a tensor", 8),
    ("o[i] = w[i]", "'w' has 2 dimensions, not 1", 8),
    ("o[i] = c[i]", "i32 meets i8; write a cast, such as `i32(...)`", 8),
    ("o[i] = a[i] + c[i]", "i32 meets i8", 15),
    ("o[i] = fma(a[i], 1, c[i])", "i32 meets i8", 21),
    ("o[i] = fma(2, a[i], c[i])", "i32 meets i8", 21),
    ("o[i] = a[i] / 2", "expected a tensor element", 8),
    ("o[i] = foo(a[i])", "unknown operation 'foo'; there are types", 8),
    ("o[i] = min(a[i])", "'min' takes 2 arguments, not 1", 8),
    ("o[i] = min(a[i], b=2)", "'min' takes 2 plain arguments", 8),
    ("o[i] = i8(a[i], 2)", "'i8' takes 1 plain arguments", 8),
    ("o[i] = i65(a[i])", "unknown operation 'i65'", 8),
    ("o[i] = a[i] + 1.5", "1.5 is not an i32", 15),
    ("o[i] = a[i] + 4000000000", "4000000000 is not an i32, which is -2147483648 to 2147483647", 15),
    ("o[i] = 2.5", "2.5 is not an i32", 8),
    ("o[i] = a[i] + True", "expected a tensor element", 15),
    ("o[i] = a[i] + -True", "expected a tensor element", 16),
    ("o[i] = a[i] + 1e999", "a number is finite", 15),
    ("o[i] = 'text'", "expected a tensor element", 8),
    ("o[i-1] = a[i]", "'i-1' writes -1 to 1, outside 0 to 2", 1),
    ("o[i+1] = a[i]", "'i+1' writes 1 to 3, outside 0 to 2", 1),
    ("o[i] -= a[i]", "write one assignment", 1),
    ("o[i] = o[i] = a[i]", "write one assignment", 1),
    ("o[i] = a[i]; o[i] = a[i]", "write one assignment", 1),
    ("a[i]", "write one assignment", 1),
    ("", "write one assignment", 1),
    ("o[i] = a[i", "not an assignment in index notation: '[' was never closed", 9),
    ("o[i] = = a[i]", "not an assignment in index notation: invalid syntax", 8),
    ("o[i].x = a[i]", "expected a tensor element", 1),
    ("o[i] = a[i:2]", "an index is a sum", 10),
    ("o[i] = (a[i]\n + a[q])", "index 'q' has no size", 19),
    ("o[i] = ä[i] + a[q]", "unknown tensor 'ä'", 8),
    ("o[i] = -----" + "-" * 5000 + "a[i]", "nested too deeply", 1),
]


@pytest.mark.parametrize(("text", "message", "column"), WRONG, ids=[text[:30] for text, _, _ in WRONG])
def test_a_wrong_text_says_what_and_where(text: str, message: str, column: int) -> None:
    declared = [Tensor("o", "i32", (3,)), Tensor("a", "i32", (3,)), Tensor("c", "i8", (3,)), Tensor("w", "i32", (3, 3))]
    with pytest.raises(NotationError) as caught:
        parse(text, {"i": 3, "j": 3}, {tensor.name: tensor for tensor in declared})
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.column == column
    shown, marked = str(caught.value).split("\n")[1:]
    assert len(shown) >= len(text.rstrip())
    assert marked == " " * (2 + column - 1) + "^"


def test_the_column_counts_characters() -> None:
    with pytest.raises(NotationError) as caught:
        infer("ö[i] = ä[i] * b[q]", {"i": 3}, "f32")
    assert caught.value.column == 17


@pytest.mark.parametrize("size", [0, -1, True, 1.5])
def test_sizes_are_positive_integers(size: int) -> None:
    with pytest.raises(dataflow.UserError, match=f"i={size}: a size is a positive integer"):
        infer("o[i] = a[i]", {"i": size}, "f32")


def test_inferred_tensors_have_the_shape_that_is_reached() -> None:
    computation = infer("o[i,k] += a[2*i+j-1] * b[k,j] * a[5]", {"i": 4, "j": 3, "k": 2}, "i8")
    assert [str(tensor) for tensor in computation.tensors] == ["o: i32[4, 2]", "a: i8[8]", "b: i8[2, 3]"]
    assert str(computation) == "o[i,k] += i32(a[2*i+j-1]) * i32(b[k,j]) * i32(a[5])"


def test_casts_that_are_written_give_the_output_its_type() -> None:
    computation = infer("o[i] = i16(a[i]) + i16(b[i])", {"i": 2}, "u8")
    assert [str(tensor) for tensor in computation.tensors] == ["o: i16[2]", "a: u8[2]", "b: u8[2]"]


def test_an_output_that_is_read_keeps_its_type() -> None:
    computation = infer("o[i] = o[i+1] + a[i]", {"i": 2}, "i8")
    assert [str(tensor) for tensor in computation.tensors] == ["o: i32[3]", "a: i8[2]"]
    assert str(computation) == "o[i] = o[i+1] + i32(a[i])"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("o[i] = a[i] + a[i,i]", "'a' has a different number of indices"),
        ("o[i] = a[i-9]", "every index of 'a' is below 0"),
    ],
)
def test_what_cannot_be_inferred(text: str, message: str) -> None:
    with pytest.raises(NotationError) as caught:
        infer(text, {"i": 2}, "i8")
    assert message in caught.value.message
