"""What a code object says of itself: a digest of its source as compiled, and the global names it reads.

Both are functions of the code object alone, so they are computed once for each. A name is read as a chain:
`helpers.tile` is ("helpers", "tile"), taken from the bytecode, where the load of an attribute follows that of the
global. What becomes of the value at the end of a chain the bytecode does not show.
"""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, EllipsisType, NoneType
from typing import Any, Final, NamedTuple

from trnlab.emulator.identity_cache import IdentityCache

Chain = tuple[str, ...]

_GLOBALS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
# Opcodes with a name that read no global: they concern locals of a class body, objects on the stack, or an import.
_HARMLESS: Final = frozenset(
    {"STORE_NAME", "DELETE_NAME", "STORE_ATTR", "DELETE_ATTR", "IMPORT_NAME", "IMPORT_FROM"}
    | {"LOAD_SUPER_ATTR", "LOAD_SUPER_METHOD", "LOAD_ZERO_SUPER_ATTR", "LOAD_ZERO_SUPER_METHOD"}
)
_INVISIBLE: Final = frozenset({"CACHE", "EXTENDED_ARG"})

# Through these attributes code reaches what neither its names nor its values show, or what fingerprints leave out.
_INTROSPECTION: Final = frozenset(
    {"__globals__", "__builtins__", "__subclasses__", "__annotations__", "__loader__", "__spec__"}
    | {"f_back", "f_builtins", "f_globals", "f_locals", "ag_frame", "cr_frame", "gi_frame", "tb_frame"}
)

_CONSTANTS: Final = (NoneType, EllipsisType, bool, int, float, complex, str, bytes)


class Import(NamedTuple):
    """`from module import names`; `level` counts the dots of a relative import, plain imports have no names."""

    module: str
    level: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFacts:
    """What one code object, with the code nested in it, says of itself.

    digest:  32 bytes over bytecode, constants, names, file and line numbers; equal for equal source at the same place
    reads:   chains of global and builtin names, each once, in order of appearance
    imports: the import statements inside the code
    refusal: why no fingerprint can speak for this code, or ""
    """

    digest: bytes
    reads: tuple[Chain, ...]
    imports: tuple[Import, ...]
    refusal: str


def _examine(code: CodeType) -> CodeFacts:
    codes = list(_with_nested(code))
    reads: dict[Chain, None] = {}
    imports: dict[Import, None] = {}
    refusals: list[str] = []
    for each in codes:
        instructions = [i for i in dis.get_instructions(each) if i.opname not in _INVISIBLE]
        reads.update(dict.fromkeys(_chains(instructions)))
        imports.update(dict.fromkeys(_imports(instructions)))
        refusals += _refusals(each, instructions)
    return CodeFacts(
        digest=_digest(code), reads=tuple(reads), imports=tuple(imports), refusal=refusals[0] if refusals else ""
    )


code_facts: Final = IdentityCache(_examine)
"""The facts of a code object."""


def _with_nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_nested(constant)


def _chains(instructions: Sequence[dis.Instruction]) -> Iterator[Chain]:
    for position, instruction in enumerate(instructions):
        if instruction.opname in _GLOBALS:
            end = position + 1
            while end < len(instructions) and instructions[end].opname in _ATTRIBUTES:
                end += 1
            yield tuple(str(load.argval) for load in instructions[position:end])


def _imports(instructions: Sequence[dis.Instruction]) -> Iterator[Import]:
    for position, instruction in enumerate(instructions):
        if instruction.opname == "IMPORT_NAME":
            level, names = (load.argval for load in instructions[position - 2 : position])
            yield Import(str(instruction.argval), int(level), tuple(names or ()))


def _refusals(code: CodeType, instructions: Sequence[dis.Instruction]) -> Iterator[str]:
    for name in _INTROSPECTION.intersection(_strings(code.co_consts)):  # getattr(f, "__globals__")
        yield f"looks at `{name}`"
    for instruction in instructions:
        opname = instruction.opname
        if opname in _ATTRIBUTES and instruction.argval in _INTROSPECTION:
            yield f"looks at `{instruction.argval}`"
        elif opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield f"assigns the global `{instruction.argval}`"
        elif instruction.opcode in dis.hasname and opname not in _GLOBALS | _ATTRIBUTES | _HARMLESS:
            yield f"holds the bytecode instruction {opname}, which is not known here"
    yield from (f"holds a constant of type {kind.__name__}" for kind in _strange_constants(code.co_consts))


def _strings(constants: tuple[Any, ...]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from _strings(constant)


def _strange_constants(constants: tuple[Any, ...]) -> Iterator[type]:
    """Types of constants that Python's own compiler does not make: their `repr` need not tell them apart."""
    for constant in constants:
        if type(constant) in (tuple, frozenset):
            yield from _strange_constants(tuple(constant))
        elif type(constant) is slice:
            yield from _strange_constants((constant.start, constant.stop, constant.step))
        elif type(constant) not in (*_CONSTANTS, CodeType):
            yield type(constant)


def _digest(code: CodeType) -> bytes:
    """A digest of everything in the code object; `repr` of constants tells 1, 1.0, True, 0.0 and -0.0 apart."""
    facts = (
        (code.co_filename, code.co_firstlineno, code.co_name, code.co_qualname, code.co_flags),
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        (code.co_code, code.co_linetable, code.co_exceptiontable),
        [_constant(constant) for constant in code.co_consts],
    )
    return hashlib.blake2b(repr(facts).encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _constant(constant: Any) -> Any:
    if isinstance(constant, CodeType):
        return _digest(constant)
    if isinstance(constant, tuple):
        return tuple(_constant(item) for item in constant)
    if isinstance(constant, frozenset):  # in an order of its own: that of the set varies from process to process
        return "frozenset", sorted(repr(item) for item in constant)
    return constant
