"""Peers on a tiny product and a tiny convolution; those that are not installed are blanks with a reason."""

from importlib.util import find_spec

import numpy as np
import pytest
from native_fake import needs

import isa
from deepbench.native import peers
from deepbench.native import run as native
from deepbench.native.peers.offer import Contender, Offer, Work
from deepbench.problems import Problem

GEMM = {"m": 33, "n": 6, "k": 24, "transpose_a": True, "transpose_b": False}
CONV = {"n": 2, "c": 3, "h": 7, "w": 9, "k": 5, "r": 3, "s": 2, "stride": (2, 1), "pad": (1, 0)}
PROBLEMS = {op: Problem(f"own/{op}/0", "own", op, tuple(s.items())) for op, s in (("gemm", GEMM), ("conv", CONV))}
ISAS = {"f32": "avx512", "bf16": "avx512_bf16", "i8": "avx512_vnni"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ISAS)
@pytest.mark.parametrize("op", PROBLEMS)
def test_peers_compute_what_we_compute(op: str, dtype: str) -> None:
    needs(ISAS[dtype])
    ready = native.prepared(PROBLEMS[op], isa.load(ISAS[dtype]), dtype, 1, 0)
    runners: dict[str, object] = {}
    for offer in peers.offers(ready.work):
        row = native._enter(offer, ready, runners)  # type: ignore[arg-type]
        if find_spec(offer.library) is None:
            assert "is not installed" in str(row["note"])
        else:
            assert (row["checked"], row["note"]) == (True, "")
            assert offer.name in runners


def test_a_missing_library_and_a_failing_peer_are_blanks() -> None:
    needs("avx512")
    ready = native.prepared(PROBLEMS["gemm"], isa.load("avx512"), "f32", 1, 0)

    def broken(_: object, work: Work) -> Contender:
        raise RuntimeError("out\n of order")

    rows = [
        native._enter(Offer("none", "no_such_library", ("gemm",), ("f32",), broken), ready, {}),
        native._enter(Offer("broken", "numpy", ("gemm",), ("f32",), broken), ready, {}),
    ]
    assert [row["note"] for row in rows] == [
        "ImportError: no_such_library is not installed; install isa-embed[peers]",
        "RuntimeError: out of order",
    ]
    assert [row["seconds"] for row in rows] == [None, None]


def test_a_wrong_peer_is_not_a_peer() -> None:
    needs("avx512")
    ready = native.prepared(PROBLEMS["gemm"], isa.load("avx512"), "f32", 1, 0)
    wrong = Contender(lambda: None, lambda: np.zeros((33, 6), np.float32))
    row = native._enter(Offer("wrong", "numpy", ("gemm",), ("f32",), lambda *_: wrong), ready, {})
    assert (row["checked"], row["note"]) == (False, "its result is not within the bound")


def test_workers_are_told_threads_and_kernels() -> None:
    assert peers.settings(["avx", "avx2", "fma"], 2)["OPENBLAS_CORETYPE"] == "Haswell"
    assert peers.settings(["avx512f", "avx512_bf16"], 2)["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_BF16"
    assert peers.settings(["avx512f"], 2)["OMP_NUM_THREADS"] == "2"
