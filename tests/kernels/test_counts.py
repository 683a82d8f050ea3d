"""What LLVM makes of the population counts on other CPUs, which need not be there."""

from __future__ import annotations

import functools
import re
from typing import Any

import llvmlite.binding as llvm
import numba
import pytest

from hashkit.kernels.counts import mark_near

ADDRESS = numba.uint64


@functools.cache
def module_text() -> str:
    """LLVM's instructions for a comparison of a group with four queries, before any CPU's."""

    @numba.njit(
        numba.boolean(ADDRESS, numba.int64, ADDRESS, ADDRESS, ADDRESS),
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
    )
    def compare(group: Any, n_words: Any, words: Any, bounds: Any, near: Any) -> Any:
        return mark_near(group, n_words, words, bounds, near)

    (text,) = compare.inspect_llvm().values()
    return str(text)


def assembly(triple: str, cpu: str) -> str:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError as error:
        pytest.skip(f"LLVM was built without {triple}: {error}")
    module = llvm.parse_assembly(module_text())
    module.triple = triple
    return str(target.create_target_machine(cpu=cpu, opt=3).emit_assembly(module))


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("triple", "cpu", "wanted", "unwanted"),
    [
        ("x86_64-unknown-linux-gnu", "icelake-server", r"vpopcntq\s.*%zmm", "vpshufb"),
        ("x86_64-unknown-linux-gnu", "znver5", r"vpopcntq\s.*%zmm", "vpshufb"),
        ("x86_64-unknown-linux-gnu", "cascadelake", r"vpshufb\s.*%zmm", "vpopcnt"),
        ("x86_64-unknown-linux-gnu", "haswell", r"vpshufb\s.*%ymm", "zmm|popcnt"),
        ("aarch64-unknown-linux-gnu", "neoverse-n1", r"\scnt\s+v\d+\.16b", "vpopcnt"),
    ],
)
def test_rows_are_counted_by_the_instructions_of_each_cpu(
    triple: str, cpu: str, wanted: str, unwanted: str
) -> None:
    text = assembly(triple, cpu)
    # The first word, and in a loop the others: four queries with two vectors each.
    assert len(re.findall(wanted, text)) >= 16
    assert not re.findall(unwanted, text)
