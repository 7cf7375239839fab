"""numpy, whose products are OpenBLAS's."""

from typing import Any

from deepbench.native.peers.offer import Contender, Offer, Work
from embed.cli.files import Array


def product(numpy: Any, work: Work) -> Contender:
    """`matmul` into an array that is there."""
    weights, activations = work.weights.T, work.activations
    out = numpy.empty((activations.shape[0], weights.shape[1]), numpy.float32)

    def run() -> Array:
        return numpy.matmul(activations, weights, out=out)  # type: ignore[no-any-return]

    return Contender(run, lambda: work.shaped(run()))


OFFERS = (Offer("numpy OpenBLAS", "numpy", ("gemm",), ("f32",), product),)
