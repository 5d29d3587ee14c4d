"""What receivers are told about a job that came to its end: found, found nothing, or why not."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeAlias

from storage.records import JobRecord, JobState, NewDelivery


class Telling(StrEnum):
    """The outcomes that a destination may ask for (`outcomes` in its settings)."""

    FINDINGS = "findings"
    NO_FINDINGS = "no_findings"
    NOT_PROCESSED = "not_processed"
    FAILED = "failed"
    NO_PIPELINE = "no_pipeline"


WITH_RESULT: Final = frozenset((Telling.FINDINGS, Telling.NO_FINDINGS))
"""A model has run to its end; the others come without measurements and without objects."""

TOLD_STATES: Final = (JobState.SUCCEEDED, JobState.REFUSED, JobState.FAILED)
"""The ends of a job that are told; in any other state there is nothing to tell now."""

DeliveryPlan: TypeAlias = Callable[[JobRecord], tuple[NewDelivery, ...]]
"""Who is told about a job that has just come to its end."""


def nobody(_job: JobRecord) -> tuple[NewDelivery, ...]:
    """The plan that tells nobody."""
    return ()


def telling(job: JobRecord) -> Telling | None:
    """What there is to tell about a job; None while it has come to no end.

    A superseded one is told as it was before: that is what a receiver was told.
    """
    if job.state is JobState.REFUSED:
        return Telling.NOT_PROCESSED if job.pipeline_name else Telling.NO_PIPELINE
    if job.state is JobState.FAILED:
        return Telling.FAILED
    if job.outcome:
        return Telling(job.outcome.value)
    # Told, if at all, before somebody asked for the try that newer work made needless.
    return Telling.NOT_PROCESSED if job.state is JobState.SUPERSEDED else None
