"""The suite on every shape of one instruction set, and the command `isa-embed sweep`."""
