"""A chain of operators: the embeddings and the layouts between them, chosen together."""

from embed.chain.options import Chain, Form, Offers, Option
from embed.chain.plan import Plan, plan

__all__ = ["Chain", "Form", "Offers", "Option", "Plan", "plan"]
