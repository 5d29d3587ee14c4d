"""Storage SOP Classes (PS3.4 B.5) by the names of groups that a person would write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import BeforeValidator

_ROOT: Final = "1.2.840.10008.5.1.4.1.1."
_UID = re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "cr_dx": ("1",),
    "mg": ("1.2", "13.1.3", "13.1.4", "13.1.5"),
    "ct": ("2",),
    "mr": ("4",),
    "us": ("3", "6"),
    "sc": ("7",),
    "waveform": ("9",),
    "presentation_state": ("11",),
    "xa_rf": ("12", "13.1.1", "13.1.2"),
    "nm": ("5", "20"),
    "pet": ("128", "130"),
    "parametric_map": ("30", "67"),
    "raw": ("66",),
    "registration": ("66.1", "66.2", "66.3"),
    "seg": ("66.4", "66.5", "66.6", "66.7", "66.8"),
    "visible_light": ("77",),
    "ophthalmic": ("14", "77.1.5", "78", "79", "80", "81", "82"),
    "microscopy": ("77.1.2", "77.1.3", "77.1.6", "77.1.8", "77.1.9", "91"),
    "sr": ("88",),
    "key_object": ("88.59",),
    "encapsulated": ("104",),
    "rt": ("481",),
}
"""Each group's branches of the UID tree below 1.2.840.10008.5.1.4.1.1.

A class belongs to the group with the longest branch that leads to it, so that `sr` is 88 without
88.59, and also classes that a later edition adds to a branch have a group.
"""


def _group_or_uid(value: object) -> object:
    text = str(value)
    if text in GROUPS or _UID.fullmatch(text):
        return text
    raise ValueError(f"write a SOP Class UID or one of {', '.join(sorted(GROUPS))}")


SopClasses = Annotated[str, BeforeValidator(_group_or_uid)]
"""One SOP Class by its UID, or several by the name of their group."""


def group_of(sop_class_uid: str) -> str | None:
    """Return the name of the group a SOP Class belongs to; None outside of all."""
    if not sop_class_uid.startswith(_ROOT):
        return None
    arcs = sop_class_uid.removeprefix(_ROOT).split(".")
    for length in range(len(arcs), 0, -1):
        group = _BRANCHES.get(".".join(arcs[:length]))
        if group is not None:
            return group
    return None


def is_among(sop_class_uid: str, allowed: Iterable[str]) -> bool:
    """Whether a SOP Class is one of `allowed`: UIDs and names of groups."""
    return not {sop_class_uid, group_of(sop_class_uid)}.isdisjoint(allowed)


_BRANCHES: Final = {branch: name for name, branches in GROUPS.items() for branch in branches}
