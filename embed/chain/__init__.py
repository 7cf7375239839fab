"""A chain of operators: the embeddings and the layouts between them, chosen together."""

from embed.chain.options import Chain, Copy, Flow, Form, Offers, Option
from embed.chain.plan import Plan, plan

__all__ = ["Chain", "Copy", "Flow", "Form", "Offers", "Option", "Plan", "plan"]
