"""An embedding on a machine that is only a file, before it has a schedule."""

from collections.abc import Mapping
from dataclasses import dataclass

from embed.abstract.homes import Home
from embed.embedding import Embedding
from embed.layout import Layout
from isa.model import Isa


@dataclass(frozen=True)
class Placed:
    """The packed form of each tensor, and the memory that it lies in."""

    embedding: Embedding
    layouts: Mapping[str, Layout]
    homes: Mapping[str, Home]
    target: Isa

    @property
    def output(self) -> str:
        return self.embedding.operator.main.output.tensor
