"""Which objects of a result go to a destination: those of its kinds, and what its report needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.made_objects import PreparedObject
from storage.records import FinishedJob, ObjectKind, ResultObject

_BESIDE = frozenset({ObjectKind.KOS, ObjectKind.PR, ObjectKind.PM})
"""What no other object refers to, and what says nothing that the others do not."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Kinds of objects as `objects` of a profile names them.

    Heat maps explain a class: the report refers to them, so they go where it goes, unless
    `explains` is False.
    """

    kinds: tuple[str, ...]
    explains: bool = True


def wanted_objects(finished: FinishedJob, offer: Offer) -> tuple[ResultObject, ...]:
    """Give the objects of a job that are offered."""
    return tuple(made for made in finished.objects if _is_wanted(made, offer))


def needed(sop_classes: Mapping[ObjectKind, str]) -> Mapping[ObjectKind, str]:
    """Give the kinds that a destination has to accept; all where there are no others."""
    others = {kind: uid for kind, uid in sop_classes.items() if kind not in _BESIDE}
    return others or sop_classes


def may_be_refused(objects: Sequence[PreparedObject]) -> frozenset[str]:
    """Give the SOP Instance UIDs of objects without which the result is still told."""
    beside = _uids(each for each in objects if each.told.kind in _BESIDE)
    return beside if len(beside) < len(objects) else frozenset()


def _uids(objects: Iterable[PreparedObject]) -> frozenset[str]:
    return frozenset(each.told.sop_instance_uid for each in objects)


def _is_wanted(made: ResultObject, offer: Offer) -> bool:
    if made.kind is ObjectKind.HEAT:
        return offer.explains and "sr" in offer.kinds
    return made.kind.name.lower() in offer.kinds
