"""What a job makes beside SEG and SR: all that any of its destinations could want of it."""

from __future__ import annotations

from collections.abc import Collection

from config.settings import Destination, Hl7Destination, PacsDestination, Settings
from storage.records import ObjectKind

_EXTRA = frozenset({"pdf", "sc", "kos", "pr", "pm"})


def extra_objects(settings: Settings, destinations: Collection[str] = ()) -> frozenset[ObjectKind]:
    """Give the kinds for a job with these destinations; no names stand for all of them.

    A PACS may take no segmentation, which is known when the job is done: what its profile has in
    place of them is made, too.
    """
    wanted = {ObjectKind[name] for name in settings.worker.extra_objects}
    for destination in settings.destinations:
        if not destinations or destination.name in destinations:
            wanted |= _wanted_by(destination)
    return frozenset(wanted)


def _wanted_by(destination: Destination) -> set[ObjectKind]:
    if isinstance(destination, PacsDestination):
        names = {*destination.objects, *destination.fallback}
        return {ObjectKind[name.upper()] for name in names & _EXTRA}
    is_of_page = isinstance(destination, Hl7Destination) and destination.include_pdf
    return {ObjectKind.PDF} if is_of_page else set()
