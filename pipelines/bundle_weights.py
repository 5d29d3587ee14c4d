"""A bundle's weights: which file, read without running code, and put into its network."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipelines.bundle_files import weights_file
from pipelines.bundle_macros import BROKEN_CONFIG, invalid
from pipelines.errors import InvalidBundle

NESTED_WEIGHTS = ("model", "state_dict", "network", "network_weights", "net", "model_state_dict")
NUMBERS = ("bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")
LFS_POINTER = b"version https://git-lfs.github.com/"
PARALLEL_PREFIX = "module."
BROKEN_WEIGHTS = (*BROKEN_CONFIG, EOFError, pickle.UnpicklingError, SafetensorError)


def chosen_weights(bundle_dir: Path, named: str | None) -> Path:
    """The file of weights: what the configuration names if it is there, else the usual one.

    A `.safetensors` beside the named file stands for it. Raises `InvalidBundle` for a file that
    lies outside the bundle, whose digest nobody has accepted.
    """
    if bundle_dir.is_file():
        return bundle_dir
    if not named:
        return weights_file(bundle_dir)
    path = bundle_dir / named
    if not path.resolve().is_relative_to(bundle_dir.resolve()):
        raise InvalidBundle(
            f"{bundle_dir.name}: weights are named outside the bundle; move them in"
        )
    for candidate in (path, path.with_suffix(".safetensors")):
        if candidate.is_file():
            return candidate
    return weights_file(bundle_dir)


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive (it holds code, not only tensors)."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def load_torchscript(path: Path) -> nn.Module:
    """Load a TorchScript network onto the CPU. Raises `InvalidBundle`."""
    try:
        network: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except BROKEN_WEIGHTS as error:
        raise invalid(path, "is no TorchScript that loads", error) from error
    return network


@contextmanager
def numpy_is_data() -> Iterator[None]:
    """Let torch read arrays and numbers of numpy beside tensors, as older checkpoints hold them."""
    makers: list[Any] = [np.array(0).__reduce__()[0], np.float64(0).__reduce__()[0]]
    # Where numpy had them before its version 2.
    old = [(maker, f"numpy.core.multiarray.{maker.__name__}") for maker in makers]
    kinds = [type(np.dtype(name)) for name in NUMBERS]
    with torch.serialization.safe_globals([np.ndarray, np.dtype, *makers, *old, *kinds]):
        yield


def load_weights(network: nn.Module, path: Path) -> None:
    """Put the weights into the network; every tensor must fit. Raises `InvalidBundle`."""
    _refuse_pointer(path)
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:  # weights_only: a pickle must not run code
            with numpy_is_data():
                state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(_tensors(state), strict=True)
    except pickle.UnpicklingError as error:  # torch's own text advises to run what is in it
        raise InvalidBundle(
            f"{path}: broken, or holds more than tensors, which could run code when it is read; "
            "fetch it again, or have its maker save the state_dict() of the network alone"
        ) from error
    except BROKEN_WEIGHTS as error:
        raise invalid(path, "does not load into network_def", error) from error


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise InvalidBundle(
                f"{path}: a pointer of Git LFS, not the weights; fetch them with git lfs pull"
            )


def _tensors(state: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = [state[key] for key in NESTED_WEIGHTS if isinstance(state.get(key), Mapping)]
    tensors: Mapping[str, Any] = nested[0] if nested else state
    if tensors and all(name.startswith(PARALLEL_PREFIX) for name in tensors):
        return {name.removeprefix(PARALLEL_PREFIX): value for name, value in tensors.items()}
    return tensors
