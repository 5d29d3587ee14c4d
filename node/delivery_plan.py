"""Which destinations are told about a job that came to its end."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from config.settings import Destination, PacsDestination
from storage.records import DestinationKind, JobRecord, NewDelivery
from storage.telling import DeliveryPlan, telling


def planned_deliveries(
    job: JobRecord, destinations: tuple[Destination, ...], *, now: datetime
) -> tuple[NewDelivery, ...]:
    """One delivery for each destination of the job that wants this outcome told.

    A job that names no destinations goes to all.

    DICOM goes first, so that links in a report resolve: a report waits until the job's DICOM
    deliveries are settled (storage brings it forward then), and `wait_for_dicom_s` at the most.
    """
    told = telling(job)
    named = [d for d in destinations if not job.destinations or d.name in job.destinations]
    wanted = [d for d in named if told in d.outcomes]
    has_dicom = any(isinstance(d, PacsDestination) for d in wanted)
    return tuple(
        NewDelivery(d.name, _kind(d), now + _wait(d, has_dicom), _takes_rejection_notes(d))
        for d in wanted
    )


def plan_of(destinations: tuple[Destination, ...], now: datetime) -> DeliveryPlan:
    """`planned_deliveries` as storage asks for it, when it ends a job by itself."""
    return partial(planned_deliveries, destinations=destinations, now=now)


def _takes_rejection_notes(destination: Destination) -> bool:
    return isinstance(destination, PacsDestination) and destination.superseded == "rejection_note"


def _wait(destination: Destination, has_dicom: bool) -> timedelta:
    if isinstance(destination, PacsDestination) or not has_dicom:
        return timedelta(0)
    return timedelta(seconds=destination.wait_for_dicom_s)


def _kind(destination: Destination) -> DestinationKind:
    is_pacs = isinstance(destination, PacsDestination)
    return DestinationKind.DICOM if is_pacs else DestinationKind(destination.type)
