"""What a kernel asks about itself: tile sizes, memories, the launch grid; and printing."""

from __future__ import annotations

import numpy as np
import pytest

import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import TARGETS, ArgumentError, TraceError

COMMON = {
    "pmax": 128,
    "psum_fmax": 512,
    "psum_bank_fmax": 512,
    "psum_bank_fmax_bytes": 2048,
    "gemm_stationary_fmax": 128,
    "gemm_moving_fmax": 512,
    "bn_stats_fmax": 512,
    "psum_min_align": 4,
    "sbuf_min_align": 4,
}


def inside_a_kernel(question, target="trn3"):
    """The answer to a question asked inside a kernel on the target."""
    answers = []

    def kernel():
        answers.append(question())
        return nl.zeros((1, 1), nl.float32, buffer=nl.shared_hbm)

    run(kernel, target=target)
    return answers[0]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_tile_sizes_follow_the_kernels_target(target):
    sizes = inside_a_kernel(lambda: {name: getattr(nl.tile_size, name) for name in COMMON}, target)
    assert sizes == COMMON
    assert inside_a_kernel(lambda: nl.tile_size.psum_num_banks, target) == target.psum_banks
    bytes_per_partition = target.sbuf_bytes_per_partition
    assert inside_a_kernel(lambda: nl.tile_size.sbuf_fmax_bytes, target) == bytes_per_partition
    assert inside_a_kernel(lambda: nl.tile_size.total_available_sbuf_size, target) == bytes_per_partition
    assert inside_a_kernel(lambda: nl.tile_size.sbuf_fmax, target) == bytes_per_partition // 4
    assert inside_a_kernel(lambda: nl.tile_size.sbuf_size_bytes, target) == 128 * bytes_per_partition


def test_outside_kernels_tile_sizes_are_those_of_the_default_target(monkeypatch):
    for name, capacity in (("trn1", 24 * 2**20), ("trn3", 32 * 2**20)):
        monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", name)
        assert nl.tile_size.sbuf_size_bytes == capacity
        # A kernel's own target wins over the default.
        assert inside_a_kernel(lambda: nl.tile_size.sbuf_size_bytes, "trn2") == 28 * 2**20


@pytest.mark.parametrize(
    ("region", "hbm", "psum", "sbuf"),
    [
        (nl.sbuf, False, False, True),
        (nl.psum, False, True, False),
        (nl.hbm, True, False, False),
        (nl.private_hbm, True, False, False),
        (nl.shared_hbm, True, False, False),
        ("hbm", True, False, False),
    ],
)
def test_memories(region, hbm, psum, sbuf):
    assert (nl.is_hbm(region), nl.is_psum(region), nl.is_sbuf(region)) == (hbm, psum, sbuf)
    assert nl.is_on_chip(region) is not hbm
    assert nl.hbm is nl.private_hbm


def test_a_kernel_without_a_grid_is_program_zero_of_one():
    assert inside_a_kernel(nl.program_id) == 0
    assert inside_a_kernel(lambda: nl.program_id(axis=0)) == 0
    assert inside_a_kernel(nl.num_programs) == 1
    assert inside_a_kernel(lambda: nl.num_programs(axes=0)) == 1
    assert inside_a_kernel(lambda: nl.num_programs(None)) == 1
    assert inside_a_kernel(lambda: nl.num_programs((0,))) == 1
    assert inside_a_kernel(nl.program_ndim) == 0


@pytest.mark.parametrize("question", [lambda: nl.program_id(1), lambda: nl.num_programs(axes=(0, 1))])
def test_the_grid_has_one_axis(question):
    with pytest.raises(ArgumentError, match="only axis"):
        inside_a_kernel(question)


@pytest.mark.parametrize("question", [nl.program_id, nl.num_programs, nl.program_ndim])
def test_the_grid_exists_inside_kernels_only(question):
    with pytest.raises(TraceError, match="outside a kernel"):
        question()


def test_device_print_hands_over_the_values_of_the_moment():
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    printed = []

    def kernel(source):
        tile = nl.load(source)
        nl.device_print("before", tile)
        tile[...] = 0.0
        nl.device_print("after", tile[:, 1:3])
        nl.device_print("in HBM", source)
        out = nl.ndarray((2, 4), nl.float32, buffer=nl.shared_hbm)
        nl.store(out, tile)
        return out

    run(kernel, x, on_print=lambda prefix, values: printed.append((prefix, values)))
    assert [prefix for prefix, _ in printed] == ["before", "after", "in HBM"]
    for (_, values), expected in zip(printed, (x, np.zeros((2, 2)), x), strict=True):
        np.testing.assert_array_equal(values, expected)


def test_device_print_goes_to_standard_output_unless_told_otherwise(capsys):
    inside_a_kernel(lambda: nl.device_print("one", nl.ones((1, 1), nl.float32)))
    assert capsys.readouterr().out == "one [[1.]]\n"


def test_device_print_inside_a_structured_loop_prints_every_iteration():
    printed = []

    def kernel():
        tile = nl.zeros((1, 1), nl.float32, name="t")
        for _ in nl.dynamic_range(3):
            tile[...] = nl.add(tile, 1.0)
            nl.device_print("t", tile)
        return nl.zeros((1, 1), nl.float32, buffer=nl.shared_hbm)

    run(kernel, on_print=lambda prefix, values: printed.append(float(values[0, 0])))
    assert printed == [1, 2, 3]


@pytest.mark.parametrize("arguments", [(3, "tensor"), ("prefix", 3)])
def test_device_print_arguments(arguments):
    with pytest.raises(ArgumentError, match=r"nl\.device_print"):
        inside_a_kernel(lambda: nl.device_print(*arguments))
