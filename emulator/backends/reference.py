"""The reference back end: one instruction at a time, in program order. It defines what a program computes.

Memory is NumPy bytes, read and written through strided windows; arithmetic is the instruction's evaluator, compiled
alone. Moves between equal dtypes copy words and never meet arithmetic. A result stays a JAX array until its bytes are
asked for (see `late_results`), so that instructions need not wait for one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from trnlab.emulator.backends.addressing import WORDS, Place, element_grid, flat_words, place, words_of
from trnlab.emulator.backends.late_results import put, take
from trnlab.emulator.backends.semantics import Evaluator, Meaning, executable, immediate, meaning_of, row_flags
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.loops import Runner
from trnlab.emulator.program import OperandSignature, Signature
from trnlab.emulator.target import Target
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.view_algebra import reaches_twice

Array = np.ndarray[Any, Any]
Print = Callable[[str, Array], None]


@dataclass(frozen=True)
class Reference:
    """Executes instructions on tensors that hold values; `on_print` receives what `nl.device_print` shows."""

    target: Target
    on_print: Print
    _executed: Iterator[int] = field(default_factory=count, repr=False, compare=False)  # numbers for random rounding

    def prepare(self, signature: Signature) -> Runner:
        """What executes every instruction of this signature."""
        if signature.opcode == "device_print":
            prefix = signature.attribute("prefix")
            return lambda tensors, _: self.on_print(prefix, _shown(tensors[0]))
        meaning = meaning_of(signature, self.target)
        if any(_needs_numbers(operand) for operand in signature.operands):
            return _by_number(signature, meaning, self._function(meaning))
        if CATALOGUE[signature.opcode].moves and meaning.math == "raw":
            return _move(signature)
        return _compute(signature, meaning, self._function(meaning))

    def _function(self, meaning: Meaning) -> Evaluator:
        return executable(meaning, self.target.numerics, self._executed)


def _needs_numbers(operand: OperandSignature) -> bool:
    """Run-time addresses have no strides, and of the results written to one element the last must stay."""
    return operand.indirection is not None or (operand.writes and reaches_twice(operand.shape, operand.strides))


def _positions(signature: Signature, wanted: Callable[[OperandSignature], bool]) -> list[int]:
    return [
        position
        for position, operand in enumerate(signature.operands)
        if wanted(operand) and not operand.name.endswith(".index")
    ]


def _move(signature: Signature) -> Runner:
    (source,) = _positions(signature, lambda operand: operand.reads)
    (target,) = _positions(signature, lambda operand: operand.writes)
    same_shape = signature.operands[source].shape == signature.operands[target].shape

    def run(tensors: Sequence[NkiTensor], immediates: Sequence[float]) -> None:
        words = words_of(tensors[source])
        window = words_of(tensors[target])
        window[...] = words if same_shape else words.reshape(window.shape)

    return run


def _compute(signature: Signature, meaning: Meaning, function: Evaluator) -> Runner:
    reads = _positions(signature, lambda operand: operand.reads)
    writes = _positions(signature, lambda operand: operand.writes)
    shapes = [shape for _, access, _, shape in meaning.operands if access != "write"]
    raw = meaning.math == "raw"

    def run(tensors: Sequence[NkiTensor], immediates: Sequence[float]) -> None:
        arrays = [take(tensors[position], shape) for position, shape in zip(reads, shapes, strict=True)]
        results = function(arrays, [immediate(value, raw) for value in immediates])
        for position, result in zip(writes, results, strict=True):
            put(tensors[position], result)

    return run


def _by_number(signature: Signature, meaning: Meaning, function: Evaluator) -> Runner:
    """As `_compute`, but operands are gathered and scattered by element number, in element order."""
    reads = _positions(signature, lambda operand: operand.reads)
    writes = _positions(signature, lambda operand: operand.writes)
    skip = signature.attribute("oob_mode") == "skip"
    raw = meaning.math == "raw"
    groups = [0 if operand.indirection is None else operand.indirection.group for operand in signature.operands]

    def run(tensors: Sequence[NkiTensor], immediates: Sequence[float]) -> None:
        places = {
            position: place(tensors[position], skip, f"nisa.{signature.opcode}", groups[position])
            for position in {*reads, *writes}
            if tensors[position].indirection is not None
        }
        arrays = [
            _gathered(tensors[position], places[position]) if position in places else tensors[position].numpy_view()
            for position in reads
        ]
        kept = [row_flags(signature, where.valid) for where in places.values() if where.valid is not None]
        results = [np.asarray(result) for result in function(arrays, [immediate(v, raw) for v in immediates])]
        for position, result in zip(writes, results, strict=True):
            tensor = tensors[position]
            words = result.view(WORDS[tensor.dtype.itemsize]).reshape(-1)
            targets = places[position].elements if position in places else _elements(tensor)
            _scatter(flat_words(tensor), targets.reshape(-1), words, kept)

    return run


def _shown(tensor: NkiTensor) -> Array:
    if tensor.indirection is None:
        return tensor.numpy_view().copy()
    return _gathered(tensor, place(tensor, skip_out_of_bounds=False, subject="nl.device_print"))


def _gathered(tensor: NkiTensor, where: Place) -> Array:
    words: Array = flat_words(tensor)[where.elements]
    return words.view(tensor.dtype.storage).reshape(tensor.shape)


def _elements(tensor: NkiTensor) -> Array:
    return tensor.offset + element_grid(tensor.shape, tensor.strides)


def _scatter(memory: Array, elements: Array, words: Array, kept: list[Array]) -> None:
    """Write words to their elements, leaving out rows whose run-time index was out of bounds."""
    mask = np.ones(words.size, bool)
    for valid in kept:
        mask &= np.repeat(valid, words.size // valid.size)
    memory[elements[mask]] = words[mask]
