"""The allocator keeps freed memory: in every entry point that trains, unless the user has configured it."""

import json
import os
import subprocess
import sys

import pytest

from fair_distill.freed_memory import keep_freed_memory, set_allocator

GLIBC = "CS_GNU_LIBC_VERSION" in os.confstr_names
PROBE = """
import ctypes, json

class Mallinfo(ctypes.Structure):  # the fields of struct mallinfo; hblks counts the blocks that are mapped separately
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_int) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo.restype = Mallinfo
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def is_mapped(size):
    before = libc.mallinfo().hblks
    block = libc.malloc(size)
    after = libc.mallinfo().hblks
    libc.free(block)
    return after > before

def report():
    print(json.dumps([is_mapped(64 * 2**20), is_mapped(512 * 2**20)]))

"""
DISTIL = """
import numpy as np, fair_distill, fair_distill.distillation.api, fair_distill.evaluation.train
from fair_distill.data.grouped_dataset import GroupedDataset

rows = np.arange(8)
data = GroupedDataset.from_arrays(np.zeros((8, 1, 4, 4), np.float32), rows % 2, rows // 4)
settings = dict(steps=1, ipc=1, formation=1, network={"name": "mlp", "width": 2, "depth": 1}, augment=[])
report()
fair_distill.distill(data, **settings, keep_freed_memory=False)
report()
fair_distill.distill(data, **settings)
report()
"""
STAGE = """
from fair_distill.stages.device import torch_device

report()
torch_device("cpu", threads=1)
report()
"""


def mapped_blocks(code: str) -> list[list[bool]]:
    """Return, for each report of a new process, whether it maps a block of 64 MiB and one of 512 MiB separately."""
    done = subprocess.run([sys.executable, "-c", PROBE + code], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not GLIBC, reason="mallopt is a function of glibc")
def test_a_library_call_keeps_freed_memory_unless_it_is_told_not_to_and_an_import_never_does() -> None:
    after_import, without_it, with_it = mapped_blocks(DISTIL)

    assert after_import == without_it == [True, True]
    assert with_it == [False, False]


@pytest.mark.skipif(not GLIBC, reason="mallopt is a function of glibc")
def test_a_stage_keeps_freed_memory() -> None:
    assert mapped_blocks(STAGE) == [[True, True], [False, False]]


@pytest.mark.parametrize(
    "configured", [{"MALLOC_MMAP_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_an_allocator_that_the_environment_configures_stays_as_it_is(configured: dict[str, str]) -> None:
    assert not keep_freed_memory(environment=configured)


@pytest.mark.parametrize(
    ("largest", "kept", "accepted"),
    [(2**30, True, [2**30]), (32 * 2**20, True, [32 * 2**20]), (0, False, [])],
    ids=["new glibc", "old glibc", "no threshold"],
)
def test_the_largest_threshold_that_the_allocator_accepts_is_set(largest: int, kept: bool, accepted: list[int]) -> None:
    calls: list[tuple[int, int]] = []

    def mallopt(parameter: int, value: int) -> int:
        if parameter == -3 and value > largest:
            return 0
        calls.append((parameter, value))
        return 1

    assert set_allocator(mallopt, one_arena=True) == kept
    assert [value for parameter, value in calls if parameter == -3] == accepted
    assert ((-8, 1) in calls) == kept
