"""The suite on VTA's simulator: one problem, TVM's fixed strategy beside it, bounds and their causes, the page."""
