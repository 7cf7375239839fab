"""Other libraries on the same problems: an extra, loaded only when asked for, in the worker that times them."""

from deepbench.native.peers import onnx, openblas, torch
from deepbench.native.peers.offer import Contender, Offer, Work, settings

__all__ = ["Contender", "Offer", "Work", "offers", "settings"]


def offers(work: Work) -> list[Offer]:
    """The peers for one problem."""
    every = (*torch.OFFERS, *onnx.OFFERS, *openblas.OFFERS)
    return [offer for offer in every if work.op in offer.ops and work.dtype in offer.dtypes]
