"""Relaxations: an operator rewritten into one with more iteration points, of which the added ones multiply by a zero.

A rewritten operator has the user's tensors; what it reads outside of them is zero, what it writes outside is dropped.
"""
