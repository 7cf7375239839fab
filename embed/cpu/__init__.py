"""Register machines: x86-64 and AArch64. A program is a list of items; one module per calling convention encodes it."""
