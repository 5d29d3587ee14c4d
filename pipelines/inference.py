"""Runs a bundle's network on its preprocessed image, with the bundle's own inferer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Any

import torch
from monai.data import MetaTensor

from pipelines.bundle import LoadedBundle
from pipelines.definition_schema import Precision
from pipelines.device_errors import told_of_device
from pipelines.errors import InferenceFailed
from pipelines.network_call import NetworkCall
from pipelines.windows import NotAsPlanned, WindowPlan, finished_planes, window_plan

CPU_WINDOWS = 2
"""Single windows keep oneDNN from small layers; more take memory and save no time."""

LARGE_ANSWER_BYTES = 256 << 20
"""Windows whose answer is larger go one by one: small layers do not count beside the last one."""

BYTES_PER_VALUE = 4

NOT_FINITE = "the network answered values that are not finite"


def infer(
    data: dict[str, Any], bundle: LoadedBundle, precision: Precision = "float32"
) -> MetaTensor:
    """The network's answer [channel, x, y, z] on the grid of the preprocessed image.

    Raises `InferenceFailed` when the network breaks (memory, shapes) or answers with values
    that are not numbers.
    """
    image = data[bundle.metadata.input_key]
    batch = _batch(image)
    with told_errors(bundle, batch), torch.inference_mode():
        answer = _whole(batch.to(bundle.device), bundle, precision)
    return MetaTensor(answer[0].detach().clone(), meta=image.meta)


def answer_planes(
    data: dict[str, Any], bundle: LoadedBundle, precision: Precision, window_batch: int | None
) -> Iterator[torch.Tensor]:
    """The same answer in slabs [plane, x, y, channel] along its first axis, as they are finished.

    `window_batch` bounds how many windows the network gets at once. Run it in inference mode.
    Raises what `infer` raises.
    """
    image = data[bundle.metadata.input_key]
    batch = _batch(image)
    with told_errors(bundle, batch):
        batch = batch.to(bundle.device)  # before the plan: windows are blended where the image lies
        plan = window_plan(bundle.inferer, batch)
        most = window_batch or _most_windows(bundle, plan)
        slabs = _planned(batch, bundle, precision, _bounded(plan, most))
        for slab in slabs:
            if not _is_finite(slab):
                raise InferenceFailed(NOT_FINITE)
            yield slab


def _planned(
    batch: torch.Tensor, bundle: LoadedBundle, precision: Precision, plan: WindowPlan | None
) -> Iterator[torch.Tensor]:
    call = NetworkCall(bundle.network, bundle.device, precision)
    begun = False
    if plan is not None:
        try:
            for slab in finished_planes(batch, call, plan):
                begun = True
                yield slab
        except NotAsPlanned:
            if begun:
                raise InferenceFailed("the network's answers differ in shape") from None
        else:
            return
    yield _whole(batch, bundle, precision)[0].permute(1, 2, 3, 0)


def _whole(batch: torch.Tensor, bundle: LoadedBundle, precision: Precision) -> torch.Tensor:
    call = NetworkCall(bundle.network, bundle.device, precision)
    answer = bundle.inferer(inputs=batch, network=call)
    if not isinstance(answer, torch.Tensor):
        raise InferenceFailed(f"the network answered a {type(answer).__name__}, not a tensor")
    if not _is_finite(answer[0]):
        raise InferenceFailed(NOT_FINITE)
    return answer


def _is_finite(answer: torch.Tensor) -> bool:
    # Part by part: torch takes the absolute values first, a second answer.
    return all(bool(torch.isfinite(part).all()) for part in answer)


def _batch(image: MetaTensor) -> torch.Tensor:
    return torch.as_tensor(image.as_tensor(), dtype=torch.float32)[None]


def _most_windows(bundle: LoadedBundle, plan: WindowPlan | None) -> int | None:
    if bundle.device.type != "cpu" or plan is None:
        return None
    values = prod(plan.roi) * max(1, len(bundle.metadata.channels))
    return 1 if BYTES_PER_VALUE * values > LARGE_ANSWER_BYTES else CPU_WINDOWS


def _bounded(plan: WindowPlan | None, window_batch: int | None) -> WindowPlan | None:
    if plan is None or window_batch is None:
        return plan
    return replace(plan, batch=min(plan.batch, window_batch))


@contextmanager
def told_errors(bundle: LoadedBundle, batch: torch.Tensor) -> Iterator[None]:
    """Translate what a network and a device raise."""
    shape = tuple(batch.shape[1:])
    try:
        yield
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        broken = f"the network broke on an image of {shape} ({type(error).__name__})"
        raise told_of_device(error, bundle.device, f"for an image of {shape}", broken) from error
