"""A bundle's inference configuration as it was published, with files and devices taken over.

Loading and saving are switched off with MONAI's own `_disabled_`; what a newer MONAI no longer
takes is left out or renamed, as its deprecation notes say. Nothing of the bundle is rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from pipelines.bundle_chain import plain, transform_name
from pipelines.bundle_macros import BROKEN_CONFIG, invalid, on_the_device, without_macros
from pipelines.errors import InvalidBundle

CHECKPOINT = "CheckpointLoader"
DISCRETE, INVERTER = "AsDiscrete", "Invert"
LOADER, SAVER, JOINER = "LoadImage", "SaveImage", "ConcatItems"
CHANNEL_MAKERS = ("EnsureChannelFirst", "AddChannel", "AsChannelFirst")
REMOVED: Mapping[str, Mapping[str, str | None]] = {
    "SwinUNETR": {"img_size": None},
    "ViT": {"pos_embed": "proj_type"},
    "ViTAutoEnc": {"pos_embed": "proj_type"},
    "UNETR": {"pos_embed": "proj_type"},
    "PatchEmbeddingBlock": {"pos_embed": "proj_type"},
    "AsDiscreted": {"n_classes": None, "num_classes": None, "logit_thresh": "threshold"},
}
"""Arguments that MONAI took once, by class: their present name, None where there is none."""

REPLACED: Mapping[str, dict[str, Any]] = {
    "AddChanneld": {"_target_": "EnsureChannelFirstd", "channel_dim": "no_channel"},
    "AddChannel": {"_target_": "EnsureChannelFirst", "channel_dim": "no_channel"},
    "AsChannelFirstd": {"_target_": "EnsureChannelFirstd", "channel_dim": -1},
}
"""Transforms that MONAI had once, and what stands for them now."""

ROUTES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "network": (("network_def",), ("network",), ("net",), ("evaluator", "network")),
    "inferer": (("inferer",), ("evaluator", "inferer")),
    "preprocessing": (
        ("preprocessing",),
        ("preprocess",),
        ("dataset", "transform"),
        ("evaluator", "val_data_loader", "dataset", "transform"),
        ("dataloader", "dataset", "transform"),
    ),
    "postprocessing": (("postprocessing",), ("postprocess",), ("evaluator", "postprocessing")),
    "checkpoint": (("checkpointloader",), ("checkpoint_loader",), ("ckpt_loader",)),
}
"""Where a part stands: under its usual name, or where the evaluator has it."""


def read_configuration(path: Path) -> dict[str, Any]:
    """Read the file and take over what radnode does itself. Raises `InvalidBundle`."""
    try:
        config = ConfigParser.load_config_file(path)
    except BROKEN_CONFIG as error:
        raise invalid(path, "cannot be read", error) from error
    if not isinstance(config, dict):
        raise InvalidBundle(f"{path}: not a set of keys; fetch the bundle again")
    return prepared(without_macros(config, path))


def prepared(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which loading and saving are off and old arguments have their present names."""
    copy: dict[str, Any] = on_the_device(deepcopy(dict(config)))
    for component in components(copy):
        _renew(component)
        if component.get("_mode_") == "debug":
            component["_mode_"] = "default"  # it would wait for somebody at a terminal
        if transform_name(component) in (LOADER, SAVER):
            component["_disabled_"] = True
    _keep_labels_whole(copy)
    return copy


def _keep_labels_whole(config: dict[str, Any]) -> None:
    """Let labels that are decided before they are inverted go back as labels, not blended.

    MONAI would interpolate between label values: between 0 and 2 it finds a 1.
    """
    place = place_of(config, "postprocessing")
    is_decided = False
    for step in components(plain(config, f"@{place}") if place else {}):
        name = transform_name(step)
        is_decided = is_decided or (name == DISCRETE and plain(config, step.get("argmax")) is True)
        if is_decided and name == INVERTER:
            step["nearest_interp"] = True


def _renew(component: dict[str, Any]) -> None:
    module, dot, name = component["_target_"].rpartition(".")
    for old, new in REMOVED.get(name, {}).items():
        if old in component:
            value = component.pop(old)
            if new is not None:
                component.setdefault(new, value)
    if name in REPLACED and module in ("", "monai.transforms"):
        component.update({**REPLACED[name], "_target_": module + dot + REPLACED[name]["_target_"]})


def components(config: Any) -> Iterator[dict[str, Any]]:
    """Every component (a mapping with `_target_`), wherever it stands."""
    if isinstance(config, dict):
        if isinstance(config.get("_target_"), str):
            yield config
        for value in list(config.values()):
            yield from components(value)
    elif isinstance(config, list):
        for value in config:
            yield from components(value)


def checkpoint_path(config: Mapping[str, Any]) -> str | None:
    """The identifier under which the file of weights stands; None when nothing loads any."""
    place = place_of(config, "checkpoint")
    if place is None:
        handlers = plain(config, "@handlers")
        for index, handler in enumerate(handlers if isinstance(handlers, list) else []):
            if isinstance(handler, Mapping) and transform_name(handler) == CHECKPOINT:
                place = f"handlers#{index}"
    loader = plain(config, f"@{place}") if place else None
    has_path = isinstance(loader, Mapping) and "load_path" in loader
    return f"{place}#load_path" if has_path else None


def place_of(config: Mapping[str, Any], part: str) -> str | None:
    """The identifier (`evaluator#inferer`) under which a part stands; None when it is nowhere."""
    for route in ROUTES[part]:
        found = _follow(config, route)
        if found is not None:
            return found
    return None


def _follow(config: Mapping[str, Any], route: tuple[str, ...]) -> str | None:
    place = ""
    here: Any = config
    for name in route:
        if not isinstance(here, Mapping) or here.get(name) is None:
            return None
        place = f"{place}#{name}" if place else name
        value = here[name]
        while isinstance(value, str) and value.startswith("@"):
            place = value[1:].replace("::", "#")
            value = plain(config, value) if "#" in place else config.get(place)
        here = value
    return place if here is not None else None


def image_keys(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that the preprocessing's loader fills, () where none can be read."""
    return _keys_of(config, LOADER)


def joined_keys(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that the preprocessing joins to the channels of one image, in their order."""
    return _keys_of(config, JOINER)


def _keys_of(config: Mapping[str, Any], transform: str) -> tuple[str, ...]:
    place = place_of(config, "preprocessing")
    found = [
        component
        for component in components(plain(config, f"@{place}") if place else {})
        if transform_name(component) == transform
    ]
    keys = [_texts(plain(config, one.get("keys"))) for one in found]
    return tuple(dict.fromkeys(key for some in keys for key in some))


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(item for item in items if isinstance(item, str) and item[:1] not in ("$", "%"))


def adds_channel(config: Mapping[str, Any]) -> bool:
    """Whether the bundle's own transforms give the image its channel axis, after its loader."""
    found = list(components(config))
    by_loader = any(
        plain(config, component.get("ensure_channel_first"))
        for component in found
        if transform_name(component) == LOADER
    )
    named = any(transform_name(component).startswith(CHANNEL_MAKERS) for component in found)
    return named and not by_loader


def prepares_by(config: Mapping[str, Any], transform: str) -> bool:
    """Whether the preprocessing has a transform of that name (without its ending)."""
    place = place_of(config, "preprocessing")
    found = components(plain(config, f"@{place}") if place else {})
    return any(transform_name(component) == transform for component in found)
