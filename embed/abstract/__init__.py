"""The machine that exists only as an ISA file: abstract programs over its memories, their price, and running them."""
