"""Kernels as other kernels see them, and as they are entered.

Numba optimises and emits every function it compiles, and again as part of each of its callers. A
function that is only called needs neither: it is kept as bitcode, joins its caller's module, is
expanded or emitted there, and is optimised there once. Left out, a cold start is half as long
(docs/decisions/0013).

What joins an entry's module is nobody else's: told so, LLVM expands a function that is called once,
and calls what is left without the words of a View that it does not read (docs/decisions/0029).
"""

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import binding as llvm
from llvmlite import ir
from numba.core import caching, compiler
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

# A callee is entered by kernels alone: unpacking a tuple of sixty arrays from Python takes longer
# to compile than most functions that take one.
_OPTIONS: dict[str, bool] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

C_WRAPPER = "cfunc."
"""How the name of what an address enters begins: the rest is the function that it calls."""

_waiting: dict[str, Any] = {}  # name -> environment: what `print` shows, for one


class _Later:
    """A codegen that keeps environments until machine code has a place for them."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def set_env(self, name: str, environment: Any) -> None:
        _waiting[name] = environment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)


def keep_environment(result: Any) -> None:
    """Keep that of what an address enters, which Numba gives none: it printed nothing and hung."""
    _waiting[result.fndesc.env_name] = result.environment


def bind_environments() -> None:
    """Give the machine code compiled last its environments; a function without one hangs."""
    codegen = cpu_target.target_context.codegen()
    for name, environment in _waiting.items():
        if codegen._engine.is_symbol_defined(name):  # noqa: SLF001 - asking for what is not there kills
            codegen.set_env(name, environment)


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """A library whose C wrappers are one with what they enter.

    Numba keeps them apart, and at every entry by address the words of an array were pushed twice;
    read back in pairs before they had reached the cache, they cost 5 ns and more each time.
    """

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions:
            if function.name.startswith(C_WRAPPER):
                for block in function.blocks:
                    for call in block.instructions:
                        if isinstance(call, ir.CallInstr):
                            call.attributes.discard("noinline")
        super().add_ir_module(ir_module)


class _CalleeLibrary(_Library):
    """A function and its callees as LLVM bitcode, unoptimised, for linking into a caller."""

    @property
    def codegen(self) -> Any:
        return _Later(self._codegen)

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)  # noqa: SLF001
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)  # noqa: SLF001
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    def serialize_using_object_code(self) -> tuple[str, str, bytes]:
        return self.name, "callee", self._get_module_for_linking().as_bitcode()

    @classmethod
    def read(cls, codegen: Any, state: tuple[str, str, bytes]) -> "_CalleeLibrary":
        name, _, bitcode = state
        library = cls(codegen, name)
        library._final_module = library._shared_module = llvm.parse_bitcode(bitcode)
        library._finalized = True
        return library


class CalleeCompiler(compiler.Compiler):  # type: ignore[misc]
    """Numba's own pipeline, into a library that emits nothing."""

    def define_pipelines(self) -> Any:
        """Return the pipelines, and give the function a library of ours."""
        state = self.state
        state.library = _CalleeLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class _EntryLibrary(_Library):
    """The machine code of functions that are entered from outside, and of all that they call."""

    def _optimize_final_module(self) -> None:
        defined = {one.name: one for one in self._final_module.functions if not one.is_declaration}
        for name, function in defined.items():
            wrapped = C_WRAPPER + name in defined
            if wrapped and not any(b"noinline" in one for one in function.attributes):
                function.add_function_attribute("alwaysinline")
            if wrapped or function.linkage == llvm.Linkage.linkonce_odr:
                function.linkage = llvm.Linkage.internal
                # LLVM's loader takes any function of a name that it has seen for a weak one of that
                # name, a changed internal one too: a function compiled by `numba.njit` crashed.
                function.name = f"{function.name}.own"
        super()._optimize_final_module()


class EntryCompiler(compiler.Compiler):  # type: ignore[misc]
    """Numba's own pipeline, for what Python or an address enters."""

    def define_pipelines(self) -> Any:
        """Return the pipelines, and give the function a library of ours."""
        state = self.state
        state.library = _EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().define_pipelines()


@global_compiler_lock
def join(results: list[Any]) -> Any:
    """Return one library of what `CalleeCompiler` made, entered by the C wrapper of each."""
    library = _EntryLibrary(cpu_target.target_context.codegen(), results[0].fndesc.qualname)
    library.enable_object_caching()
    for result in results:
        keep_environment(result)
        module = result.library._get_module_for_linking().clone()  # noqa: SLF001
        # LLVM links of a module what is asked for, and what is external.
        module.get_function(result.fndesc.llvm_cfunc_wrapper_name).linkage = llvm.Linkage.external
        library._final_module.link_in(module)  # noqa: SLF001
    library.finalize()
    return library


class _CalleeTarget:
    """A target context that reads a cached library as a callee's."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def codegen(self) -> "_CalleeTarget":
        return self

    def unserialize_library(self, state: tuple[str, str, bytes]) -> _CalleeLibrary:
        return _CalleeLibrary.read(self._context.codegen(), state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class _CalleeCacheImpl(caching.CompileResultCacheImpl):  # type: ignore[misc]
    def reduce(self, data: Any) -> Any:
        return super().reduce(data._replace(type_annotation=""))  # a text of all its types

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        return super().rebuild(_CalleeTarget(target_context), payload)


class _CalleeCache(caching.FunctionCache):  # type: ignore[misc]
    _impl_class = _CalleeCacheImpl


def callee(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Return the dispatcher that callers of a kernel compile and link against."""
    dispatcher = numba.njit(pipeline_class=CalleeCompiler, **{**options, **_OPTIONS})(function)
    dispatcher._cache = _CalleeCache(function)  # noqa: SLF001 - enable_caching has no choice of one
    return dispatcher
