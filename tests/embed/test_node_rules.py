"""The per-node model: each rule on the smallest instance that it allows and the smallest that it forbids."""

from types import ModuleType

from ortools.sat.python import cp_model

import dataflow
from dataflow.sums import Sums
from embed.solver.nodes import accumulation, embeddings, labels, once, order, sharing
from embed.solver.nodes.problem import Problem
from embed.solver.nodes.variables import Variables


def sums(text: str, **extents: int) -> Sums:
    return Sums(dataflow.infer_all(text.split(";"), extents, "i16:i16"))


def model(operator: Sums, pattern: Sums) -> Variables:
    return Variables.of(Problem(operator, pattern))


def feasible(variables: Variables, *rules: ModuleType) -> bool:
    for rule in rules:
        rule.add(variables)
    return cp_model.CpSolver().solve(variables.model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)


PRODUCT = sums("d += a * b")
BROADCAST = sums("d[l] += a[l] * b", l=2)
LANES = sums("d[l] += a[l] * b[l]", l=2)
DOT = sums("d += a[k] * b[k]", k=2)
TYPES = {"d": "i16", "a": "i16", "n": "u4"}
BUTTERFLY = sums("s = a + b; d = a - b")


def test_labels_are_signs_types_and_operations() -> None:
    assert len(embeddings(sums("c += x * y"), PRODUCT)) == 2
    assert embeddings(sums("c += -(x * y)"), PRODUCT) == ()
    assert embeddings(sums("c += max(x, y)"), PRODUCT) == ()
    assert embeddings(Sums((dataflow.infer("c += x * y", {}, "i8"),)), PRODUCT) == ()


def test_labels_keep_to_the_dims_of_a_statement() -> None:
    operator = sums("c[i] += x[i] * y; e[j] += x[j] * y", i=2, j=2)
    variables = model(operator, PRODUCT)
    [node] = variables.points
    [first] = [literal for match, literal in variables.chosen[node].items() if match.image.statement == 0][:1]
    variables.model.add(first == 1)
    assert feasible(variables, labels)
    variables.model.add(variables.points[node]["j"] == 1)
    assert not feasible(variables)


def test_sharing_holds_one_value_in_one_element() -> None:
    assert feasible(model(sums("c[i] += x[i] * y", i=2), BROADCAST), labels, sharing, once)
    assert not feasible(model(sums("c[i] += x[i] * y[i]", i=2), BROADCAST), labels, sharing, once)


def test_accumulation_tells_sums_apart() -> None:
    assert feasible(model(sums("c[i] += x[i] * y[i]", i=2), LANES), labels, accumulation, once)
    assert not feasible(model(sums("c += x[k] * y[k]", k=2), LANES), labels, accumulation, once)


def test_once_needs_as_many_points_as_nodes() -> None:
    assert feasible(model(sums("c += x[k] * y[k]", k=2), DOT), labels, once)
    assert not feasible(model(sums("c += x[k] * y[k]", k=1), DOT), labels, once)


def test_order_does_no_statement_with_what_it_needs() -> None:
    chain = sums("s[i] = x[i] + y[i]; d[i] = s[i] - y[i]", i=1)
    assert feasible(model(chain, BUTTERFLY), labels, once)
    assert not feasible(model(chain, BUTTERFLY), labels, once, order)


def test_an_operand_may_hold_a_literal_that_fits_it() -> None:
    shift = Sums((dataflow.parse("d = a >> i16(n)", {}, {n: dataflow.Tensor(n, t, ()) for n, t in TYPES.items()}),))
    [found] = embeddings(sums("c = x >> 7"), shift)
    assert (("n", ()), ("7", ())) in found.held
    assert embeddings(sums("c = x >> 16"), shift) == ()
