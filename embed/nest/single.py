"""The loop nest of an embedding without a schedule: one invocation after the other, sums inside."""

from embed.embedding import Embedding
from embed.nest.ir import Compute, Drain, Fill, Nest, Node, Reset, Tiles


def single(embedding: Embedding) -> Nest:
    """Loops over the results outside, sums inside, each in the order of the operator's box."""
    results = embedding.result_loops
    body: tuple[Node, ...] = (*(Fill(name) for name in embedding.inputs), Compute())
    for loop in reversed(embedding.loops):
        if loop.name not in results:
            body = (Tiles(loop.name, 1, body),)
    body = (Reset(), *body, Drain(0))
    for loop in reversed(embedding.loops):
        if loop.name in results:
            body = (Tiles(loop.name, 1, body),)
    return Nest(embedding, body, 1)
