"""Embeddings as a page to look at: the alternatives, and where the lanes of each invocation read and write."""
