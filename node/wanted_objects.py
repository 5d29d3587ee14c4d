"""Which objects of a result go to a destination: those of its kinds, and what its report needs."""

from __future__ import annotations

from collections.abc import Collection

from storage.records import FinishedJob, ObjectKind, ResultObject


def wanted_objects(finished: FinishedJob, kinds: Collection[str]) -> tuple[ResultObject, ...]:
    """Give the objects of these kinds (as `objects` of a profile names them).

    Heat maps explain a class: the report refers to them, so they go where it goes.
    """
    return tuple(made for made in finished.objects if _is_wanted(made, kinds))


def _is_wanted(made: ResultObject, kinds: Collection[str]) -> bool:
    is_of_report = "sr" in kinds and made.kind is ObjectKind.HEAT
    return is_of_report or made.kind.name.lower() in kinds
