"""The one-line description of the machine."""

from __future__ import annotations

import platform

import pytest
from looped import looped

from hashkit.machine import describe_machine, processor


def cpuinfo(*lines: str) -> str:
    return "\n".join(["processor\t: 0", *lines, "", "processor\t: 1", "model name\t: Another", ""])


@looped(
    ("flags", "said"),
    [
        ("fpu sse2 avx2", "Some CPU 3 (AVX2)"),
        ("avx2 avx_vnni", "Some CPU 3 (AVX2, VNNI)"),
        ("avx2 avx512f avx512_vnni avx512_bf16", "Some CPU 3 (AVX-512, VNNI, BF16)"),
        ("avx2 avx512f amx_tile amx_bf16 avx512_vnni", "Some CPU 3 (AVX-512, AMX, VNNI, BF16)"),
        ("fpu sse2", "Some CPU 3"),
    ],
)
def test_the_cpu_is_named_with_its_instruction_sets(tmp_path, flags, said):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo("model name\t: Some   CPU  3", f"flags\t\t: {flags}"))
    assert processor(path) == said


def test_python_names_a_cpu_that_linux_does_not_name(tmp_path):
    expected = platform.processor() or platform.machine()
    assert processor(tmp_path / "none") == expected
    (tmp_path / "cpuinfo").write_text(cpuinfo("Features\t: fp asimd"))
    assert processor(tmp_path / "cpuinfo") == expected


def test_the_machine_is_described_in_one_line():
    said = describe_machine()
    assert processor() in said
    assert platform.system() in said
    assert "\n" not in said


@pytest.mark.parametrize(("n_cpus", "said"), [(1, ", 1 CPU, "), (2, ", 2 CPUs, ")])
def test_cpus_are_counted(monkeypatch, n_cpus, said):
    monkeypatch.setattr("hashkit.machine.available_cpus", lambda: n_cpus)
    assert said in describe_machine()
