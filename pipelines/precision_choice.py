"""In which precision a job computes, on the device that it has really got."""

from __future__ import annotations

from dataclasses import replace

import structlog
import torch

from pipelines.agreement import EXACT
from pipelines.device import device_kind
from pipelines.network_call import is_reduced
from pipelines.registry import RegisteredPipeline

log = structlog.get_logger()


def agreed_precision(
    registered: RegisteredPipeline, device: torch.device
) -> tuple[RegisteredPipeline, str]:
    """The pipeline as it may run on a device, and what a person has to know of that, if anything.

    Its own precision where that was compared with float32 on a device of this kind and agrees
    well enough, else float32: slower, and never further from the model than anybody has measured.
    """
    definition = registered.definition
    precision, measured = definition.precision, registered.agreements
    if measured is None or not is_reduced(precision, device):
        return registered, ""
    kind = device_kind(device)
    share = measured.get(kind)
    if share is not None and share >= definition.least_agreement:
        return registered, ""
    why = "was not compared" if share is None else f"agrees to {share:.4f} only"
    log.warning("precision_not_agreed", pipeline=definition.name, precision=precision, device=kind)
    exact = definition.model_copy(update={"precision": EXACT})
    return replace(registered, definition=exact), f", in {EXACT} ({precision} {why} on {kind})"
