"""Which destinations a finished job's results go to."""

from __future__ import annotations

from datetime import datetime, timedelta

from config.settings import Destination, DicomDestination
from storage.records import DestinationKind, JobRecord, NewDelivery


def planned_deliveries(
    job: JobRecord, destinations: tuple[Destination, ...], *, now: datetime
) -> tuple[NewDelivery, ...]:
    """One delivery for each destination of the job; a job that names none goes to all.

    DICOM goes first, so that links in a report resolve: a report waits until the job's DICOM
    deliveries are settled (storage brings it forward then), and `wait_for_dicom_s` at the most.
    """
    wanted = [d for d in destinations if not job.destinations or d.name in job.destinations]
    has_dicom = any(isinstance(d, DicomDestination) for d in wanted)
    return tuple(
        NewDelivery(d.name, DestinationKind(d.type), now + _wait(d, has_dicom)) for d in wanted
    )


def _wait(destination: Destination, has_dicom: bool) -> timedelta:
    if isinstance(destination, DicomDestination) or not has_dicom:
        return timedelta(0)
    return timedelta(seconds=destination.wait_for_dicom_s)
