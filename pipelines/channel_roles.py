"""Which input role of a definition fills which channel of the network, without torch.

A model that takes T1c, T1, T2 and FLAIR in this order answers nonsense, without any error, when
they come in another. Roles are therefore matched to the meaning that the bundle gives its
channels (channel_def), not to the order in which somebody wrote them down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipelines.bundle_metadata import BundleMetadata
from pipelines.errors import InvalidBundle

SYNONYMS: Mapping[str, str] = {
    "t1n": "t1",
    "t1w": "t1",
    "t1pre": "t1",
    "t1native": "t1",
    "t1ce": "t1c",
    "t1gd": "t1c",
    "t1post": "t1c",
    "t1contrast": "t1c",
    "t1km": "t1c",
    "t2w": "t2",
    "t2f": "flair",
    "t2flair": "flair",
    "fl": "flair",
    "adcmap": "adc",
    "petct": "pet",
    "pt": "pet",
}


COLOURS = 3
COLOUR_NAMES = ({"r", "g", "b"}, {"red", "green", "blue"})


def roles_by_channel(roles: Mapping[str, str | None], metadata: BundleMetadata) -> tuple[str, ...]:
    """Role names in the order of the network's channels.

    `roles` maps each role of the definition to the channel that it names, if it names one.
    Raises `InvalidBundle` when roles and channels do not pair, each with one.
    """
    names = metadata.channel_names
    if len(roles) != metadata.input_channels:
        if len(roles) == 1 and is_colour(metadata):
            return tuple(roles)
        raise InvalidBundle(
            f"the network takes {metadata.input_channels} channels, the definition names "
            f"{len(roles)} inputs; they must agree"
        )
    if len(roles) == 1:
        return tuple(roles)
    wanted = [_plain(name) for name in names]
    if len(set(wanted)) < len(roles) and not any(roles.values()):
        return tuple(roles)  # the channels have no names: the definition's order is all there is
    found = {_plain(channel or role): role for role, channel in roles.items()}
    by_number = {str(index): name for index, name in enumerate(wanted)}
    found = {by_number.get(key, key): role for key, role in found.items()}
    missing = [name for name, key in zip(names, wanted, strict=True) if key not in found]
    if missing or len(found) != len(roles):
        raise InvalidBundle(_not_paired(names, roles, missing))
    return tuple(found[key] for key in wanted)


def keys_by_channel(
    keys: Sequence[str], joined: Sequence[str], metadata: BundleMetadata
) -> tuple[str, ...]:
    """The keys of a bundle's loader in the order of the network's channels.

    A key is its channel's by name; else by its place where a transform joins the keys.
    """
    by_name = {_plain(key): key for key in keys}
    wanted = [_plain(name) for name in metadata.channel_names]
    if len(by_name) == len(keys) and sorted(by_name) == sorted(wanted):
        return tuple(by_name[name] for name in wanted)
    return tuple(joined) if sorted(joined) == sorted(keys) else tuple(keys)


def is_colour(metadata: BundleMetadata) -> bool:
    """Whether the network takes a colour picture, which a grey one can stand for."""
    if metadata.input_channels != COLOURS or len(metadata.inputs) != 1:
        return False
    (image,) = metadata.inputs
    names = {name.lower() for name in image.channel_names.values()}
    # Some bundles call their three channels `image`: one picture is all they take.
    return image.format.lower() == "rgb" or names in COLOUR_NAMES or len(names) == 1


def _not_paired(names: Sequence[str], roles: Mapping[str, str | None], missing: list[str]) -> str:
    return (
        f"the network's channels are {', '.join(names)}, the definition's inputs "
        f"{', '.join(roles)}; nothing fills {', '.join(missing) or 'one of them alone'}: name the "
        "inputs after the channels, or give each a `channel`"
    )


def _plain(name: str) -> str:
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    return SYNONYMS.get(key, key)
