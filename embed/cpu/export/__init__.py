"""Kernels for programs in C: objects, assembler text, C source."""
