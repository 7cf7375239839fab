"""Plans of instructions that are no contraction: they tile any size, run bit for bit, and are among all embeddings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow
import isa
from dataflow import Operator
from dataflow.sums import Sums
from embed.cli.data import random_arrays
from embed.errors import NoEmbedding
from embed.nodes.kernel import PlanKernel
from embed.nodes.placement import Placement
from embed.solver.deadline import Deadline
from embed.solver.nodes import embeddings
from embed.solver.nodes.plans import plan
from embed.solver.nodes.regular import placements
from embed.solver.settings import Settings

AVX512, HEXAGON = isa.load("avx512"), isa.load("hexagon")


def operator(text: str, dtype: str = "i16", **extents: int) -> Operator:
    return Operator("expr", dataflow.infer_all(text.split(";"), extents, dtype), tuple(extents.items()))


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (3, 5, 7), (16, 16, 16), (7, 33, 20), (40, 1, 3)])
def test_pair_adds_make_an_integer_gemm_of_any_size(m: int, n: int, k: int) -> None:
    gemm = dataflow.gemm(m=m, n=n, k=k, dtype="i16")
    found = plan(gemm, AVX512, Settings())
    assert [step.placement.name for step in found.steps] == ["vpmaddwd_zmm_zmm_zmm"]
    assert found.steps[0].invocations <= m * -(-n // 16) * -(-k // 2)
    arrays = random_arrays(gemm, 1)
    expected = arrays["a"].astype(np.int64) @ arrays["b"].astype(np.int64)
    assert np.array_equal(PlanKernel(found)(**arrays), expected.astype(np.int32))


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_pair_adds_make_convolutions(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    groups, taps = draw(1, 2), {"r": draw(1, 3), "s": draw(1, 3)}
    sizes = {"c": groups * draw(1, 4), "h": draw(5, 8), "w": draw(5, 8), "k": groups * draw(1, 9), **taps}
    steps = {"stride": draw(1, 2), "pad": draw(0, 2), "dilation": draw(1, 2), "groups": groups}
    conv = dataflow.conv2d(n=draw(1, 2), **sizes, **steps, dtype="i16")
    found = plan(conv, isa.load("avx2"), Settings())
    arrays = random_arrays(conv, 5)
    assert np.array_equal(PlanKernel(found)(**arrays), dataflow.evaluate(conv, arrays))


def test_a_whole_sum_in_one_invocation_leaves_nothing_to_add() -> None:
    found = plan(operator("y[i] = i32(a[i,0])*i32(b[i,0]) + i32(a[i,1])*i32(b[i,1])", i=32), AVX512, Settings())
    assert [(step.placement.name, step.invocations, step.adder) for step in found.steps] == [
        ("vpmaddwd_zmm_zmm_zmm", 2, "")
    ]


COMPLEX = "c[i,j,0] += {0}(a[i,k,0])*{0}(b[k,j,0]) - {0}(a[i,k,1])*{0}(b[k,j,1]); \
c[i,j,1] += {0}(a[i,k,0])*{0}(b[k,j,1]) + {0}(a[i,k,1])*{0}(b[k,j,0])"


@pytest.mark.parametrize(
    ("name", "dtype", "total", "names"),
    [
        ("sve2", "i8", "i32", {"cdot_s_0", "cdot_s_90"}),
        ("sve2", "i16", "i64", {"cdot_d_0", "cdot_d_90"}),
        ("sve2", "i16", "i16", {"cmla_h_0", "cmla_h_90"}),
        ("sve2", "i32", "i32", {"cmla_s_0", "cmla_s_90"}),
        ("hexagon", "i16", "i64", {"vrcmpyr_acc", "vrcmpyi_acc"}),
    ],
)
@pytest.mark.parametrize(("i", "j", "k"), [(1, 1, 1), (5, 3, 4), (9, 17, 7)])
def test_complex_gemm_of_any_size(name: str, dtype: str, total: str, names: set[str], i: int, j: int, k: int) -> None:
    text = COMPLEX.format(total) if dtype != total else COMPLEX.replace("{0}", "")
    gemm = operator(text, f"{dtype}:{total}", i=i, j=j, k=k)
    found = plan(gemm, isa.load(name), Settings())
    assert {step.placement.name for step in found.steps} == names
    assert found.status == "OPTIMAL"
    arrays = random_arrays(gemm, i + j + k)
    a, b = (arrays[tensor].astype(object) for tensor in "ab")
    (ar, ai), (br, bi) = (np.moveaxis(a, 2, 0), np.moveaxis(b, 2, 0))
    exact = np.stack([ar @ br - ai @ bi, ar @ bi + ai @ br], axis=2)
    wrapped = (exact % 2 ** (8 * np.dtype(f"i{int(total[1:]) // 8}").itemsize)).astype(np.uint64)
    expected = wrapped.astype(f"u{int(total[1:]) // 8}").view(f"i{int(total[1:]) // 8}")
    assert np.array_equal(PlanKernel(found)(**arrays), expected)


def test_a_stage_of_an_fft_is_complex_products_and_butterflies() -> None:
    turned = "t[j,0] = i32(sat_i32(i64(x[j,0])*i64(w[j,1]) + i64(x[j,1])*i64(w[j,0]))); \
t[j,1] = i32(x[j,1])*i32(w[j,1]) - i32(x[j,0])*i32(w[j,0])"
    stage = operator(f"{turned}; y[0,j,p] = z[j,p] + t[j,p]; y[1,j,p] = z[j,p] - t[j,p]", j=37, p=2)
    found = plan(stage, isa.load("c66x"), Settings())
    assert [step.placement.name for step in found.steps] == ["dcmpy", "addsub"]
    arrays = random_arrays(stage, 0)
    x, w = (arrays[name][:, 1].astype(np.float64) + 1j * arrays[name][:, 0] for name in "xw")
    z = arrays["z"][:, 1] + 1j * arrays["z"][:, 0]
    expected = np.stack([z + x * w, z - x * w])
    result = PlanKernel(found)(**arrays)
    assert isinstance(result, np.ndarray)
    assert np.array_equal(result[..., 1] + 1j * result[..., 0], expected)


@pytest.mark.parametrize("name", ["hexagon", "c66x"])
def test_a_chain_of_element_wise_steps(name: str) -> None:
    chain = operator("t[i,j] = x[i,j] + y[j]; u[i,j] = max(t[i,j], 0); v[i,j] = u[i,j] >> 3", "i16:i16", i=5, j=7)
    found = plan(chain, isa.load(name), Settings())
    assert len(found.steps) == 3
    assert found.utilisation > 0.9
    arrays = random_arrays(chain, 3)
    expected = np.maximum(arrays["x"] + arrays["y"], 0) >> 3
    assert np.array_equal(PlanKernel(found)(**arrays), expected)


@pytest.mark.parametrize(("n", "t"), [(30, 9), (17, 2), (4, 1)])
def test_a_complex_filter(n: int, t: int) -> None:
    real = "y[n,0] += x[n+t,0]*h[t,0] - x[n+t,1]*h[t,1]"
    fir = operator(f"{real}; y[n,1] += x[n+t,0]*h[t,1] + x[n+t,1]*h[t,0]", "i8", n=n, t=t)
    arrays = random_arrays(fir, n)
    x, h = (arrays[name][:, 0] + 1j * arrays[name][:, 1] for name in "xh")
    expected = np.correlate(x, h.conj(), "valid")
    result = PlanKernel(plan(fir, isa.load("sve2"), Settings()))(**arrays)
    assert isinstance(result, np.ndarray)
    assert np.array_equal(result[:, 0] + 1j * result[:, 1], expected)


def one_invocation(placement: Placement) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """What every node of an instruction that takes one invocation does, node by node."""
    found = []
    for image in placement.images:
        origin = {loop.name: np.zeros(1, np.int64) for loop in placement.loops}
        points, idle = placement.points(image, origin)
        assert not idle.any()
        extents = placement.operator.statements[image.match.image.statement].extents
        for place in np.ndindex(*idle.shape):
            point = tuple(int(points[dim][place]) for dim in extents)
            found.append((image.match.image.statement, image.match.image.place, point))
    return tuple(found)


@pytest.mark.parametrize(
    ("pattern", "lanes", "text", "extents"),
    [
        ("d[l] = i32(a[2*l])*i32(b[2*l]) + i32(a[2*l+1])*i32(b[2*l+1])", 2, "y[i] += a[i,k]*b[k]", {"i": 2, "k": 2}),
        (
            "d[2*l] += a[2*l]*b[2*l] - a[2*l+1]*b[2*l+1]; d[2*l+1] += a[2*l]*b[2*l+1] + a[2*l+1]*b[2*l]",
            2,
            "c[i,0] += a[i,0]*b[i,0] - a[i,1]*b[i,1]; c[i,1] += a[i,0]*b[i,1] + a[i,1]*b[i,0]",
            {"i": 2},
        ),
    ],
)
def test_regular_placements_are_embeddings(pattern: str, lanes: int, text: str, extents: dict[str, int]) -> None:
    whole, own = operator(text, **extents), operator(pattern, l=lanes)
    every = {found.nodes for found in embeddings(Sums(whole.statements), Sums(own.statements))}
    regular, complete = placements(whole, "it", Sums(own.statements), Settings(), Deadline(10))
    filled = [one_invocation(each) for each in regular if each.invocations == 1]
    assert complete
    assert filled
    assert set(filled) <= every


@st.composite
def bodies(draw: st.DrawFn, depth: int = 3) -> str:
    """Element-wise expressions of what a DSP's vector unit has."""
    if not depth or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(["x[i,j]", "y[j]", "z[i]", "x[i,j]"]))
    left = draw(bodies(depth - 1))
    shape = draw(st.sampled_from(["{} + {}", "({}) - ({})", "max({}, {})", "min({}, {})", "(({}) >> 3)", "max({}, 0)"]))
    return shape.format(left, draw(bodies(depth - 1)))


@given(body=bodies(), i=st.integers(1, 6), j=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_bodies_are_cut_into_what_instructions_do(body: str, i: int, j: int) -> None:
    whole = operator(f"v[i,j] = ({body}) + x[i,j]", "i16:i16", i=i, j=j)
    arrays = random_arrays(whole, i + j)
    assert np.array_equal(PlanKernel(plan(whole, HEXAGON, Settings()))(**arrays), dataflow.evaluate(whole, arrays))


def test_of_a_body_whole_or_cut_the_faster_plan_counts() -> None:
    found = plan(operator("c[i] = a[i]*b[i] + a[i]", "i32:i32", i=88), AVX512, Settings())
    assert [(step.placement.name, step.adder) for step in found.steps] == [
        ("vpmulld_zmm_zmm_zmm", ""),
        ("vpaddd_zmm_zmm_zmm", ""),
    ]


WHY_NOT = {
    "c66x gemm": "cmpy: the operator has nothing like its addend 2 of `dst[1]",
    "hexagon c[i] = a[i]*b[i]": "does `c[i] = a[i] * b[i]`: no instruction has an addend with its types",
    "c66x s[i] = a[i]+b[i]; d[i] = a[i]-c[i]": "addsub: one element of an operand would have to hold several",
    "c66x d[i] = a[i]-b[i]": "addsub: its addends do not do each addend of the operator equally often, and one element",
    "c66x s[i] = a[i]+b[i]; d[i,j] = a[i]-c[i,j]": "addsub: its addends would do statements over different dims",
    "avx512 y[i+j] += a[i]*b[j]": "writes one element from several points of its output dims",
    "avx512 t[i] = a[i]+b[i]; a[i] = t[i]+b[i]": "writes a, which an earlier statement reads",
}


@pytest.mark.parametrize("request_", WHY_NOT)
def test_why_not_in_words(request_: str) -> None:
    name, _, text = request_.partition(" ")
    dtype = "i16:i16" if name == "hexagon" else "i32:i32"
    sizes = {dim: 8 for dim in "ij" if dim in text}
    asked = dataflow.gemm(m=4, n=4, k=4, dtype="i16") if text == "gemm" else operator(text, dtype, **sizes)
    with pytest.raises(NoEmbedding) as error:
        plan(asked, isa.load(name), Settings())
    assert WHY_NOT[request_] in str(error.value)
