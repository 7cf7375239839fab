"""The suite on this machine's CPU: timed beside the core's limits, other libraries and LLVM."""
