"""Where models run, and what runs there cost."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from pipelines.errors import InferenceFailed

BYTES_PER_MIB = 1 << 20


def chosen_device(name: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes CUDA when it is there.

    Raises `InferenceFailed` when CUDA is asked for and not there.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if available else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        if (device.index or 0) >= available:
            text = f"device {name} is not there ({available} CUDA devices); set worker.device"
            raise InferenceFailed(text)
    return device


def prepare_torch(cpu_threads: int) -> None:
    """Bound torch's threads (0 leaves its choice) and choose repeatable arithmetic.

    The same input on the same machine then gives the same answer, bit for bit.
    """
    if cpu_threads:
        torch.set_num_threads(cpu_threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def told(device: torch.device) -> str:
    """The device as a person reads it: `cpu`, or index and product name of a GPU."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def device_kind(device: torch.device) -> str:
    """What devices have in common that compute alike: `cpu`, or a GPU's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def forget_peak(device: torch.device) -> None:
    """Start measuring the memory of this process, and of the device, anew."""
    with suppress(OSError):  # Linux alone can; elsewhere the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_device_mib(device: torch.device) -> float | None:
    """Most memory held on a GPU since `forget_peak`; None on the CPU."""
    if device.type != "cuda":
        return None
    return float(torch.cuda.max_memory_allocated(device)) / BYTES_PER_MIB


def peak_memory_mib() -> float:
    """Most resident memory of this process since `forget_peak`."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (BYTES_PER_MIB if sys.platform == "darwin" else 1024)
