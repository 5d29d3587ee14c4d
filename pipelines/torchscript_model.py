"""A plain TorchScript network, told in a few lines of the definition instead of a bundle.

The lines become the inference configuration that a bundle would bring, so that everything after
is the same. Nothing here imports torch.
"""

from __future__ import annotations

from typing import Any

from pipelines.bundle_metadata import BundleInput, BundleMetadata
from pipelines.network_schema import Intensity, NetworkDefinition

IMAGE = "image"
PRED = "pred"


def torchscript_metadata(
    name: str, version: str, network: NetworkDefinition, *, judges_whole: bool = False
) -> BundleMetadata:
    """What a bundle's metadata would say; `judges_whole` of a classifier."""
    channels = dict(enumerate(network.channels))
    return BundleMetadata(
        name=name,
        version=version,
        input_key=IMAGE,
        input_channels=len(network.channels),
        channels=dict(network.labels),
        inputs=(BundleInput(IMAGE, len(network.channels), channels),),
        kind="classification" if judges_whole else "segmentation",
    )


def torchscript_config(
    network: NetworkDefinition, *, judges_whole: bool = False, is_flat: bool = False
) -> dict[str, Any]:
    """The inference configuration of a bundle that does the same.

    `judges_whole` of a classifier; `is_flat` of one that takes projections.
    """
    before: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": IMAGE},
        {"_target_": "EnsureChannelFirstd", "keys": IMAGE},
    ]
    if not is_flat:
        before.append({"_target_": "Orientationd", "keys": IMAGE, "axcodes": network.orientation})
    if network.spacing_mm and not is_flat:
        spacing = {"pixdim": list(network.spacing_mm), "mode": "bilinear"}
        before.append({"_target_": "Spacingd", "keys": IMAGE, **spacing})
    if network.resize:
        mode = "bilinear" if is_flat else "trilinear"
        size = {"spatial_size": list(network.resize), "mode": mode}
        before.append({"_target_": "Resized", "keys": IMAGE, **size})
    before += [_scaled(one) for one in network.intensity]
    before.append({"_target_": "EnsureTyped", "keys": IMAGE, "dtype": "$torch.float32"})
    after = [_activation(network)] if judges_whole else _after(network)
    return {
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "inferer": _inferer(network),
        "postprocessing": {"_target_": "Compose", "transforms": after},
    }


def _scaled(intensity: Intensity) -> dict[str, Any]:
    to = dict(zip(("b_min", "b_max"), intensity.to, strict=True))
    if intensity.range is not None:
        low, high = intensity.range
        limits = {"a_min": low, "a_max": high, **to, "clip": True}
        return {"_target_": "ScaleIntensityRanged", "keys": IMAGE, **limits}
    if intensity.percentiles is not None:
        lower, upper = intensity.percentiles
        shares = {"lower": lower, "upper": upper, **to, "clip": True, "channel_wise": True}
        return {"_target_": "ScaleIntensityRangePercentilesd", "keys": IMAGE, **shares}
    if intensity.mean is not None:
        fixed = {"subtrahend": intensity.mean, "divisor": intensity.std}
        return {"_target_": "NormalizeIntensityd", "keys": IMAGE, **fixed}
    kind = {"nonzero": intensity.zscore == "nonzero", "channel_wise": True}
    return {"_target_": "NormalizeIntensityd", "keys": IMAGE, **kind}


def _inferer(network: NetworkDefinition) -> dict[str, Any]:
    if network.patch_size is None:
        return {"_target_": "SimpleInferer"}
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(network.patch_size),
        "sw_batch_size": network.window_batch,
        "overlap": network.overlap,
        "mode": "gaussian",
    }


def _activation(network: NetworkDefinition) -> dict[str, Any]:
    return {"_target_": "Activationsd", "keys": PRED, network.output: True}


def _after(network: NetworkDefinition) -> list[dict[str, Any]]:
    back = {"transform": "@preprocessing", "orig_keys": IMAGE, "nearest_interp": False}
    invert = {"_target_": "Invertd", "keys": PRED, **back}
    if network.output == "softmax":
        last = {"_target_": "AsDiscreted", "keys": PRED, "argmax": True}
        return [_activation(network), invert, last]
    cut = {"_target_": "AsDiscreted", "keys": PRED, "threshold": network.threshold}
    return [_activation(network), invert, cut]
