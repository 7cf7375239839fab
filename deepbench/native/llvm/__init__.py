"""The kernels as LLVM IR, and how long LLVM takes to compile them; needs the extra `llvm`."""
