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
from pipelines.errors import InvalidBundle

# What a wrong configuration makes MONAI's parser, or an expression in it, raise.
BROKEN_CONFIG = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
LOADER, SAVER = "LoadImage", "SaveImage"
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
    return prepared(config)


def prepared(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which loading and saving are off and old arguments have their present names."""
    copy: dict[str, Any] = deepcopy(dict(config))
    for component in components(copy):
        _renew(component)
        if transform_name(component) in (LOADER, SAVER):
            component["_disabled_"] = True
    return copy


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
    place = place_of(config, "preprocessing")
    loaders = [
        component
        for component in components(plain(config, f"@{place}") if place else {})
        if transform_name(component) == LOADER
    ]
    keys = [_texts(plain(config, loader.get("keys"))) for loader in loaders]
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


def invalid(path: Path, what: str, error: BaseException) -> InvalidBundle:
    """The error that names the file, what failed and the innermost reason."""
    while error.__cause__ is not None:  # MONAI wraps what went wrong in what it was doing
        error = error.__cause__
    reason = " ".join(str(error).split())[:300]
    text = f"{path}: {what} ({type(error).__name__}: {reason}); mend the bundle or fetch it again"
    return InvalidBundle(text)
