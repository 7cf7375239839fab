"""Epilogues in registers: which instructions compute one, and the code that they make."""
