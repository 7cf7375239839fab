"""Formulas against Python's own arithmetic."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.arithmetic import Formula, FormulaError

NAMES = {"a": 3, "b": -7, "acc.count": 2048, "z": 0}
LEAVES = st.sampled_from(["a", "b", "z", "0", "1", "17"])


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = st.sampled_from(["+", "-", "*", "//", "%", "<", "<=", ">", ">=", "==", "!="])
    return (
        st.tuples(inner, signs, inner).map(lambda parts: f"({' '.join(parts)})")
        | st.tuples(st.sampled_from(["-", "+", "not "]), inner).map(lambda parts: f"({''.join(parts)})")
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        )
    )


FORMULAS = st.recursive(LEAVES, combined, max_leaves=12)


@given(FORMULAS)
def test_value_is_pythons(text: str) -> None:
    try:
        expected: Any = eval(text, {"min": min, "max": max}, NAMES)
    except ZeroDivisionError:
        expected = None
    formula = Formula.parse(text)
    if expected is None:
        with pytest.raises(FormulaError, match="divides by zero"):
            formula.value(NAMES)
    else:
        assert formula.value(NAMES) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("log2(acc.count)", 11),
        ("ceil_log2(5)", 3),
        ("ceil_log2(1)", 0),
        ("ceildiv(7, 2)", 4),
        ("ceildiv(-7, 2)", -3),
        ("max(1, a, b)", 3),
        ("0 <= a < 3", 0),
        ("0 <= a < 4 and not z", 1),
        ("z or b", 1),
        ("z and b", 0),
        (" a\n + 1 ", 4),
    ],
)
def test_values(text: str, value: int) -> None:
    assert Formula.parse(text).value(NAMES) == value


@given(st.integers(0, 100))
def test_log2_is_exact(exponent: int) -> None:
    assert Formula.parse(f"log2({1 << exponent})").value({}) == exponent
    assert Formula.parse(f"ceil_log2({1 << exponent})").value({}) == exponent
    assert Formula.parse(f"ceil_log2({(1 << exponent) + 1})").value({}) == exponent + 1


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("1 +", 0, "this is not a formula"),
        ("", 0, "this is not a formula"),
        ("a ** 2", 0, r"operators .* \+ - \* // %"),
        ("1 + a / 2", 4, "operators of a formula"),
        ("~a", 0, "signs"),
        ("a is 1", 0, "comparisons"),
        ("f(1)", 0, "function 'f'"),
        ("a + log2()", 4, r"log2\(\) takes 1 arguments, not 0"),
        ("min()", 0, r"min\(\) takes some arguments, not 0"),
        ("a.b.c", 0, "a formula has integers"),
        ("'x'", 0, "is an integer"),
        ("1.5", 0, "is an integer"),
        ("True", 0, "integer"),
        ("[a]", 0, "a formula has"),
        ("a[1]", 0, "a formula has"),
        ("lambda: 1", 0, "a formula has"),
        ("a if b else z", 0, "a form"),
        ("__import__('os')", 0, "function '__import__' does not exist"),
        ("a.real()", 0, "a formula has"),
    ],
)
def test_what_is_no_formula(text: str, offset: int, message: str) -> None:
    with pytest.raises(FormulaError, match=message) as caught:
        Formula.parse(text)
    assert caught.value.offset == min(offset, max(len(text) - 1, 0))


def test_words_are_read_while_running() -> None:
    formula = Formula.parse("uop[u + 1].dst * 2 + u")
    assert [(name.text, name.word) for name in formula.names()] == [("uop.dst", True), ("u", False), ("u", False)]
    assert formula.value({"u": 3}, lambda memory, index, field: 100 * index + len(memory + field)) == 815
    with pytest.raises(FormulaError, match="can only be read while"):
        formula.value({"u": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [("log2(a)", "3 is not a power of two"), ("q", "'q' has no value"), ("ceil_log2(z)", "not positive")],
)
def test_values_that_are_not_there(text: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        Formula.parse(text).value(NAMES)
