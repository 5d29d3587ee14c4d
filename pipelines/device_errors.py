"""Tells errors of a device from errors of what runs on it: out of memory, or lost altogether."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from pipelines.errors import DeviceLost, DeviceOutOfMemory, InferenceFailed

OUT_OF_MEMORY = (
    "can't allocate memory",  # torch on the CPU
    "CUDA error: out of memory",  # outside of torch's own pool
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
LOST = "CUDA error"


def device_error(
    error: BaseException, device: torch.device, where: str
) -> DeviceOutOfMemory | DeviceLost | None:
    """What a foreign error says of `device`; None when the device is well.

    `where` follows the device in the text. Causes are looked at, too: MONAI raises errors of its
    own from those of torch.
    """
    for one in _chain(error):
        if _is_out_of_memory(one):
            return DeviceOutOfMemory(f"out of memory on {device} {where}")
        if _is_lost(one):
            return DeviceLost(f"{device} stopped answering {where}")
    return None


def told_of_device(
    error: BaseException, device: torch.device, where: str, otherwise: str
) -> InferenceFailed:
    """The same, or an `InferenceFailed` with the text `otherwise`."""
    return device_error(error, device, where) or InferenceFailed(otherwise)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)


def _is_lost(error: BaseException) -> bool:
    """Whether a CUDA context is broken: no call in this process can succeed any more."""
    accelerator_error = getattr(torch, "AcceleratorError", ())
    return isinstance(error, accelerator_error) or (
        isinstance(error, RuntimeError) and LOST in str(error)
    )
