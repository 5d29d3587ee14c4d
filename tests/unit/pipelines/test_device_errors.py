"""Which errors say that a device is full or lost, and what becomes of them in a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Lambdad

from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.device_errors import device_error
from pipelines.errors import DeviceLost, DeviceOutOfMemory, InferenceFailed
from pipelines.inference import answer_planes, infer
from pipelines.restore import told_postprocessing
from pipelines.smaller_means import with_smaller_means
from tests.unit.pipelines.threshold_bundle import write_bundle

CPU = torch.device("cpu")
MORE_THAN_THERE_IS = 1 << 60
LOST = "CUDA error: an illegal memory access was encountered"


def fill(_: Any = None) -> torch.Tensor:
    return torch.empty(MORE_THAN_THERE_IS)


def lose(_: Any = None) -> torch.Tensor:
    raise torch.AcceleratorError(LOST)


def caught(act: Any) -> Exception:
    with pytest.raises(Exception) as info:  # noqa: PT011 -- what it is, is the question
        act()
    return info.value


class Network(torch.nn.Module):
    """Answers its input, unless `act` does something else to so many windows."""

    def __init__(self, act: Any, from_windows: int = 1) -> None:
        super().__init__()
        self.act, self.from_windows, self.calls = act, from_windows, 0

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if len(windows) >= self.from_windows:
            self.act()
        return windows


@pytest.fixture
def bundle(tmp_path: Path) -> LoadedBundle:
    return load_bundle(write_bundle(tmp_path / "bundle"), CPU)


def image() -> dict[str, Any]:
    voxels = torch.randn((1, 8, 8, 8), generator=torch.Generator().manual_seed(2))
    return {"image": MetaTensor(voxels)}


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=["torch", "driver", "cuDNN", "cuBLAS", "Python"],
)
def test_a_full_device_is_told_from_a_lost_one(error: Exception) -> None:
    found = device_error(error, CPU, "here")
    assert isinstance(found, DeviceOutOfMemory)
    assert str(found) == "out of memory on cpu here"


def test_a_full_processor_is_a_full_device() -> None:
    assert isinstance(device_error(caught(fill), CPU, "here"), DeviceOutOfMemory)


@pytest.mark.parametrize(
    "error",
    [torch.AcceleratorError(LOST), RuntimeError(LOST), torch.AcceleratorError("unknown")],
    ids=["accelerator", "older torch", "without a text"],
)
def test_a_broken_context_is_a_lost_device(error: Exception) -> None:
    found = device_error(error, torch.device("cuda:0"), "here")
    assert isinstance(found, DeviceLost)
    assert str(found) == "cuda:0 stopped answering here"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("sizes do not match"), ValueError(LOST), KeyError("image")],
    ids=["shapes", "no error of torch", "a key"],
)
def test_other_errors_say_nothing_of_the_device(error: Exception) -> None:
    assert device_error(error, CPU, "here") is None


def test_errors_that_go_round_in_circles_are_looked_at_once() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert device_error(first, CPU, "here") is None


@pytest.mark.parametrize(("act", "kind"), [(fill, DeviceOutOfMemory), (lose, DeviceLost)])
def test_a_transform_of_monai_does_not_hide_what_became_of_the_device(
    act: Any, kind: type[Exception], bundle: LoadedBundle
) -> None:
    chain = Compose([Lambdad("image", act)])
    with pytest.raises(kind), told_postprocessing(bundle):
        chain(image())


@pytest.mark.parametrize(("act", "kind"), [(fill, DeviceOutOfMemory), (lose, DeviceLost)])
def test_a_network_that_meets_it_says_so_on_either_way(
    act: Any, kind: type[Exception], bundle: LoadedBundle
) -> None:
    broken = replace(bundle, network=Network(act))
    with pytest.raises(kind, match=r"for an image of \(1, 8, 8, 8\)"):
        infer(image(), broken)
    with pytest.raises(kind):
        list(answer_planes(image(), broken, "float32", None))


def test_a_network_that_breaks_otherwise_is_no_matter_of_the_device(bundle: LoadedBundle) -> None:
    broken = replace(bundle, network=Network(lambda: torch.ones(2) @ torch.ones(3)))
    with pytest.raises(InferenceFailed, match="the network broke") as info:
        infer(image(), broken)
    assert type(info.value) is InferenceFailed


def test_windows_that_do_not_fit_together_are_computed_one_by_one(bundle: LoadedBundle) -> None:
    network = Network(fill, from_windows=2)
    inferer = SlidingWindowInferer((4, 4, 4), sw_batch_size=4, overlap=0)
    small = replace(bundle, network=network, inferer=inferer)

    def run(_: torch.device, window_batch: int | None) -> torch.Tensor:
        with torch.inference_mode():
            planes = answer_planes(image(), small, "float32", window_batch)
            return torch.cat([slab.clone() for slab in planes])

    answer, told = with_smaller_means(CPU, run)

    assert told == "cpu, window by window (out of memory)"
    assert network.calls == 1 + 8
    torch.testing.assert_close(answer[..., 0], image()["image"].as_tensor()[0])


def test_a_lost_device_is_not_tried_again() -> None:
    tried: list[int | None] = []

    def run(_: torch.device, window_batch: int | None) -> None:
        tried.append(window_batch)
        raise DeviceLost("gone")

    with pytest.raises(DeviceLost):
        with_smaller_means(CPU, run)
    assert tried == [None]


def test_the_processor_gets_two_windows_at_a_time_whatever_the_bundle_says(
    bundle: LoadedBundle,
) -> None:
    network = Network(fill, from_windows=3)
    inferer = SlidingWindowInferer((4, 4, 4), sw_batch_size=8, overlap=0)
    many = replace(bundle, network=network, inferer=inferer)
    with torch.inference_mode():
        list(answer_planes(image(), many, "float32", None))
    assert network.calls == 4


def test_windows_with_a_very_large_answer_are_computed_one_by_one(
    bundle: LoadedBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(fill, from_windows=2)
    inferer = SlidingWindowInferer((4, 4, 4), sw_batch_size=8, overlap=0)
    large = replace(bundle, network=network, inferer=inferer)
    monkeypatch.setattr("pipelines.inference.LARGE_ANSWER_BYTES", 4 * 4**3 * 3 - 1)
    with torch.inference_mode():
        list(answer_planes(image(), large, "float32", None))
    assert network.calls == 8
