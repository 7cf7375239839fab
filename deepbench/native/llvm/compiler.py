"""LLVM through llvmlite: its -O3 pipeline and its code generator for this machine's CPU, timed and run."""

import time
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from dataflow.errors import UserError

_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Compiled:
    """An object file, and the seconds that reading the text, the passes and the code generator took."""

    code: bytes
    parse_s: float
    passes_s: float
    generate_s: float

    @property
    def seconds(self) -> float:
        """What LLVM took once it had the IR."""
        return self.passes_s + self.generate_s


def compile_ir(text: str) -> Compiled:
    """IR to an object file; raises UserError without llvmlite."""
    llvm, machine = _llvm()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=_LEVEL))
    passes = builder.getModulePassManager()
    start = time.perf_counter()
    found = llvm.parse_assembly(text)
    read = time.perf_counter()
    passes.run(found, builder)
    optimised = time.perf_counter()
    code = bytes(machine.emit_object(found))
    return Compiled(code, read - start, optimised - read, time.perf_counter() - optimised)


def code_of(compiled: Compiled) -> Any:
    """An engine that holds the linked code, at `get_function_address(ir.NAME)`."""
    llvm, _ = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm))
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(compiled.code))
    engine.finalize_object()
    return engine


def version() -> str:
    """The version of LLVM; raises UserError without llvmlite."""
    return ".".join(map(str, _llvm()[0].llvm_version_info))


@cache
def _llvm() -> tuple[Any, Any]:
    """The bindings and a code generator for this machine's CPU."""
    if find_spec("llvmlite") is None:
        raise UserError("llvmlite is not installed; install isa-embed[llvm]")
    llvm = import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm, _machine(llvm)


def _machine(llvm: Any) -> Any:
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=_LEVEL)
