"""The suite on machines that are only a file: one problem, and the table of all instruction sets."""
