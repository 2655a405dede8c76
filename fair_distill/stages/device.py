"""Where a stage computes, and how it comes to equal bytes there."""

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fair_distill.config import Config
from fair_distill.errors import ConfigError

if TYPE_CHECKING:
    import torch


def torch_device(device: str, *, threads: int) -> "torch.device":
    """Make torch give equal bytes for equal params, and return the device."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS sums in no fixed order; read at its start
    torch.set_num_threads(threads)
    # What use_deterministic_algorithms does, but for importing torch's compiler.
    torch.set_deterministic_debug_mode("error")
    # Torch would write NaN into all memory that it takes, up to a tenth of a training step; what reads only what it has
    # written gives the same bytes without.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen).cpu()  # there to compute on and to read back from
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError(f"--device {device}: {str(error).splitlines()[0][:200]}") from None
    return chosen


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed: a step's activations otherwise go back to the system and are faulted in again.

    That took a fifth of the time of training. Elsewhere than on glibc nothing happens.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    with suppress(OSError, AttributeError, TypeError):  # no such function, or no C library to ask
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, 32 * 2**20)  # the most that it takes
        libc.mallopt(m_trim_threshold, 2**30)


def peak_memory_mb(device: "torch.device") -> float | None:
    """Return the most memory that was in use on a GPU so far; None on the CPU, whose memory is the process's."""
    import torch

    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def provenance_of(config: Config, device: str) -> dict[str, Any]:
    """Where equal bytes can be had again: the libraries, the processor's capability and the kind of device."""
    import platform
    from importlib.metadata import version

    import torch

    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("fair-distill", "numpy", "pot", "pyarrow", "torch")},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.device(device).type,
        "threads": config.threads,
    }
