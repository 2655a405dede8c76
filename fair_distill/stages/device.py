"""Where a stage computes, and how it comes to equal bytes there."""

import os
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
    torch.use_deterministic_algorithms(True)
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen).cpu()  # there to compute on and to read back from
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError(f"--device {device}: {str(error).splitlines()[0][:200]}") from None
    return chosen


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
