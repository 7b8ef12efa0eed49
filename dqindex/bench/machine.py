"""What a figure depends on besides the method: the machine and the versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info


def machine() -> dict[str, Any]:
    """CPU and cores, without a name that identifies the machine; the kernels of FAISS's BLAS.

    FAISS's wheels bring an OpenBLAS of 2021. It takes a newer processor for one of 2004, and its
    products then take three to five times as long: such figures can't be compared with others.
    """
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "faiss_blas": faiss_kernels(),
    }


def faiss_kernels() -> str | None:
    """The processor for which FAISS's OpenBLAS computes, as ``"Haswell"``; None if it is another's.

    ``"Prescott"`` on a processor with AVX2 is one that it does not know; setting
    ``OPENBLAS_CORETYPE`` before Python starts tells it.
    """
    import faiss  # noqa: F401  (its BLAS must be loaded to be found)

    for library in threadpool_info():
        if library["internal_api"] == "openblas" and "faiss" in library["filepath"]:
            return str(library["architecture"])
    return None


def resident() -> dict[str, int]:
    """Bytes of this process in memory: ``now``, and the ``peak`` since `reset_peak`.

    Empty where the system has no /proc.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return {}
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return {
        "now": int(fields["VmRSS"].split()[0]) * 1024,
        "peak": int(fields["VmHWM"].split()[0]) * 1024,
    }


def reset_peak() -> None:
    """Start the peak of `resident` afresh."""
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")


def pin(cpus: int) -> None:
    """Let every thread of this process run on the first `cpus` of its CPUs only.

    A library's idle workers can then not help, whatever it calls its setting.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    chosen = set(sorted(_ALL_CPUS)[:cpus])
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), chosen)
        except ProcessLookupError:
            continue


_ALL_CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
