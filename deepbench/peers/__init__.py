"""Other libraries on the same problems: an extra, loaded only when asked for, in the worker that times them."""

from deepbench.peers.offer import Contender, Offer, Work, offers, settings

__all__ = ["Contender", "Offer", "Work", "offers", "settings"]
