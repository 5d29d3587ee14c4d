"""Models kept warm in one process: loaded once, and let go by least use within a budget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import torch

from pipelines.bundle import LoadedBundle
from pipelines.bundle_files import told_changes
from pipelines.device import BYTES_PER_MIB
from pipelines.errors import RefusalCode, Refused
from pipelines.model_loading import load_model
from pipelines.model_source import model_files
from pipelines.registry import RegisteredPipeline

log = structlog.get_logger()

Key = tuple[str, str]
"""Digest of the model, and its device."""


@dataclass(frozen=True, slots=True)
class _Kept:
    model: LoadedBundle
    size_mib: float


class ModelCache:
    """At most `budget_mib` of weights, and always the model that was asked for last."""

    def __init__(self, budget_mib: float) -> None:
        self._budget_mib = budget_mib
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, load: Callable[[], LoadedBundle]) -> LoadedBundle:
        """The model of `key`, by `load` when it is not there; what that raises is raised."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key].model
            model = load()
            self._kept[key] = _Kept(model, weights_mib(model.network))
            self._let_go()
            return model

    def set_budget(self, budget_mib: float) -> None:
        """Change the budget, and let go of what no longer fits."""
        with self._lock:
            self._budget_mib = budget_mib
            self._let_go()

    @property
    def keys(self) -> tuple[Key, ...]:
        """The kept models, the one that was used longest ago first."""
        with self._lock:
            return tuple(self._kept)

    def _let_go(self) -> None:
        while len(self._kept) > 1 and self._size_mib() > self._budget_mib:
            (digest, device), gone = self._kept.popitem(last=False)
            log.info("model_let_go", model=digest[:12], device=device, size_mib=gone.size_mib)
            if device.startswith("cuda"):
                torch.cuda.empty_cache()

    def _size_mib(self) -> float:
        return sum(kept.size_mib for kept in self._kept.values())


def weights_mib(network: torch.nn.Module) -> float:
    """What a network's parameters and buffers take."""
    tensors = (*network.parameters(), *network.buffers())
    return float(sum(one.numel() * one.element_size() for one in tensors)) / BYTES_PER_MIB


_warm = ModelCache(budget_mib=8192)


def keep_models_within(budget_mib: float) -> None:
    """Bound the weights that this process keeps loaded."""
    _warm.set_budget(budget_mib)


def loaded_model(registered: RegisteredPipeline, device: torch.device) -> LoadedBundle:
    """The model of a registered pipeline, ready on `device`.

    Raises `InvalidBundle`, and `Refused` (pipeline_changed) when the bundle's files are no
    longer those that were registered: the result would name a model that did not run.
    """

    def load() -> LoadedBundle:
        _refuse_changed(registered)
        return load_model(registered, device)

    return _warm.get((registered.model_digest, str(device)), load)


def _refuse_changed(registered: RegisteredPipeline) -> None:
    found = model_files(registered.bundle_dir)
    if found != registered.files:
        text = (
            f"bundle {registered.definition.bundle}: {told_changes(registered.files, found)} since "
            "the node started; put the files back, or accept the change (radnode model accept) "
            "and restart"
        )
        raise Refused(RefusalCode.PIPELINE_CHANGED, text)
