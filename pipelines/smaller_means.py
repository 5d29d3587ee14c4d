"""Runs on a device, and on less of it, or on the CPU, where its memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import structlog
import torch

from pipelines.device import told
from pipelines.errors import DeviceOutOfMemory

T = TypeVar("T")
WINDOW_BY_WINDOW = 1

log = structlog.get_logger()


def with_smaller_means(
    device: torch.device, run: Callable[[torch.device, int | None], T]
) -> tuple[T, str]:
    """What `run` gives for (device, most windows at once), and what it took, as people read it.

    Tried in order: the device with the bundle's own window batch, window by window, the CPU.
    Raises what `run` raises; `DeviceOutOfMemory` where nothing was enough.
    """
    for used, window_batch in _means(device):
        try:
            return run(used, window_batch), _told(device, used, window_batch)
        except (DeviceOutOfMemory, torch.OutOfMemoryError):
            log.warning("device_out_of_memory", device=str(used), window_batch=window_batch)
        # Outside of the handler: the error's frames hold the tensors that filled the memory.
        if used.type == "cuda":
            torch.cuda.empty_cache()
    raise DeviceOutOfMemory(f"out of memory on {device}, with the smallest batch of windows, too")


def _means(device: torch.device) -> Iterator[tuple[torch.device, int | None]]:
    yield device, None
    yield device, WINDOW_BY_WINDOW
    if device.type != "cpu":
        yield torch.device("cpu"), WINDOW_BY_WINDOW


def _told(wanted: torch.device, used: torch.device, window_batch: int | None) -> str:
    if window_batch is None:
        return told(used)
    if used == wanted:
        return f"{told(used)}, window by window (out of memory)"
    return f"{told(used)} ({wanted} out of memory)"
