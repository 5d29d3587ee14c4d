"""Models kept warm: loaded once in a process, for each digest and device."""

from __future__ import annotations

import threading

import torch

from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.bundle_files import bundle_digests
from pipelines.errors import RefusalCode, Refused
from pipelines.registry import RegisteredPipeline, digest_of

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
            if digest_of(bundle_digests(registered.bundle_dir)) != registered.model_digest:
                text = "the bundle's files changed since the node started; restart to accept them"
                raise Refused(RefusalCode.PIPELINE_CHANGED, text)
            _loaded[key] = load_bundle(registered.bundle_dir, device)
        return _loaded[key]
