"""Registers and the version queries of nki.isa, as published."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import sync
from trnlab.emulator.nki.isa.convert import integer
from trnlab.emulator.nki.isa.enums import nc_version
from trnlab.emulator.source import fail
from trnlab.emulator.target import Target
from trnlab.emulator.tensor import NkiTensor, VirtualRegister
from trnlab.emulator.trace import NkiInstruction, active, current

_WORD = range(-(2**31), 2**32)


def register_alloc(x: int | NkiTensor | None = None) -> VirtualRegister:
    """A fresh 32-bit register, holding x where x is given.

    x: None leaves it uninitialised; an integer is moved in; a tensor of one integer is loaded, as older NKI releases do

    Raises:
        ArgumentError: an integer beyond 32 bits, or another kind of value.
    """
    register = current("nisa.register_alloc").register()
    if isinstance(x, NkiTensor):
        register_load(register, x)
    elif x is not None:
        register_move(register, x)
    return register


def register_move(dst: VirtualRegister, src: int | VirtualRegister) -> NkiInstruction:
    """dst = src, a compile-time integer or another register.

    Raises:
        ArgumentError: dst is no register, or src neither a register nor an integer of 32 bits.
    """
    subject = "nisa.register_move"
    value = src if isinstance(src, VirtualRegister) else _word(subject, src)
    return current(subject).emit(sync.register_move, (_writable(subject, dst), value))


def register_load(dst: VirtualRegister, src: NkiTensor) -> NkiInstruction:
    """dst = src, a tensor of one integer in SBUF or HBM; narrower integers are extended by their own sign.

    Raises:
        ShapeError: more than one element.  DtypeError: no integer.  BufferError: a tensor in PSUM.
    """
    subject = "nisa.register_load"
    return current(subject).emit(sync.register_load, (_writable(subject, dst), src))


def register_store(dst: NkiTensor, src: VirtualRegister) -> NkiInstruction:
    """dst = src, into a tensor of one integer in SBUF or HBM; narrower integers take the low bits.

    Raises:
        ShapeError: more than one element.  DtypeError: no integer.  BufferError: a tensor in PSUM.
    """
    subject = "nisa.register_store"
    return current(subject).emit(sync.register_store, (dst, _register(subject, "src", src)))


def get_nc_version() -> nc_version:
    """The NeuronCore generation of the kernel being traced; outside kernels, that of the default target."""
    return nc_version(_target().generation.value)


def get_nc_sub_version() -> int:
    """The silicon revision inside the generation: 0, the first one, which is what every target models."""
    return 0


def _target() -> Target:
    trace = active()
    if trace is not None:
        return trace.target
    # A function of the published face that is also called by plain Python: the launcher knows the default.
    from trnlab.emulator.launch import default_target

    return default_target()


def _register(subject: str, argument: str, value: Any) -> VirtualRegister:
    if not isinstance(value, VirtualRegister):
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed="a register of nisa.register_alloc")
    return value


def _writable(subject: str, value: Any) -> VirtualRegister:
    register = _register(subject, "dst", value)
    if register.frozen:
        found, allowed = f"{register!r}, the index of nl.dynamic_range", "a register of nisa.register_alloc"
        fail(ArgumentError, subject, operand="dst", found=found, allowed=allowed, source="NKI language guide")
    return register


def _word(subject: str, value: Any) -> int:
    number = integer(subject, "src", value)
    if number not in _WORD:
        fail(ArgumentError, subject, operand="src", found=str(number), allowed="an integer of 32 bits, or a register")
    return number
