"""The device that a stage computes on, set up so that equal params give equal bytes."""

import os
from typing import TYPE_CHECKING, Any

from fair_distill.config import Config
from fair_distill.errors import ConfigError
from fair_distill.freed_memory import keep_freed_memory

if TYPE_CHECKING:
    import torch


def torch_device(device: str, *, threads: int) -> "torch.device":
    """Make torch deterministic and return the device.

    Raises
    ------
    ConfigError
        If the device does not exist or cannot be used.
    """
    import torch

    # Without this, cuBLAS sums in no fixed order. It reads the variable when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # The same as use_deterministic_algorithms, which would also import torch's compiler.
    torch.set_deterministic_debug_mode("error")
    # Torch would fill all new memory with NaN, which takes up to a tenth of a training step. The bytes are the same
    # without it, because no code here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed_memory(one_arena=True)
    try:
        torch_dev = torch.device(device)
        torch.empty(0, device=torch_dev).cpu()  # fails here if the device cannot compute or be read from
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError(f"--device {device}: {str(error).splitlines()[0][:200]}") from None
    return torch_dev


def peak_memory_mb(device: "torch.device") -> float | None:
    """Return the peak GPU memory so far in MB; None on the CPU, where the process's own memory counts."""
    import torch

    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def machine_provenance(config: Config, device: str) -> dict[str, Any]:
    """Return what must be equal to reproduce the same bytes: libraries, CPU capability, device type and threads."""
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
