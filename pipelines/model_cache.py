"""Models kept warm: loaded once in a process, for each digest and device."""

from __future__ import annotations

import threading

import torch

from pipelines.bundle import LoadedBundle
from pipelines.bundle_files import told_changes
from pipelines.errors import RefusalCode, Refused
from pipelines.model_loading import load_model
from pipelines.model_source import model_files
from pipelines.registry import RegisteredPipeline

_loaded: dict[tuple[str, str], LoadedBundle] = {}
_lock = threading.Lock()


def loaded_model(registered: RegisteredPipeline, device: torch.device) -> LoadedBundle:
    """The model of a registered pipeline, ready on `device`.

    Raises `InvalidBundle`, and `Refused` (pipeline_changed) when the bundle's files are no
    longer those that were registered: the result would name a model that did not run.
    """
    key = registered.model_digest, str(device)
    with _lock:
        if key not in _loaded:
            _refuse_changed(registered)
            _loaded[key] = load_model(registered, device)
        return _loaded[key]


def _refuse_changed(registered: RegisteredPipeline) -> None:
    found = model_files(registered.bundle_dir)
    if found != registered.files:
        text = (
            f"bundle {registered.definition.bundle}: {told_changes(registered.files, found)} since "
            "the node started; put the files back, or accept the change (radnode model accept) "
            "and restart"
        )
        raise Refused(RefusalCode.PIPELINE_CHANGED, text)
