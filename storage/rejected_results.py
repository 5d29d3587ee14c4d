"""Results of ours that a PACS takes back by a rejection note: a person there did not want them.

The result is withdrawn wherever else it was told, and its job does not become current again by
itself: the same model on the same images would tell the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.job_state import change_job
from storage.job_tables import Delivery, Job
from storage.records import DestinationKind, JobState, ObjectKind, Purpose
from storage.rejection_records import ReadNote
from storage.sent_objects import arrived_objects
from storage.state_change import Actor, Step
from storage.withdrawal import withdraw_deliveries

RESULT_REJECTED: Final = "result_rejected"
_RESULT: Final = frozenset({ObjectKind.SEG, ObjectKind.SR})


@dataclass(frozen=True, slots=True)
class ResultRules:
    """Which results the sender of a note may reject: none unless `is_heeded`.

    Else those on images that it sent, those that it got as one of `destinations`, or all.
    """

    is_heeded: bool = False
    is_for_all: bool = False
    destinations: frozenset[str] = frozenset()


NO_RESULTS: Final = ResultRules()


def reject_results(
    session: Session, study_instance_uid: str, read: ReadNote, may: ResultRules, now: datetime
) -> frozenset[str]:
    """Take back the results of a study that a note rejects; returns what of them it names.

    `may.is_for_all` where the sender of the note has sent the images, too. A result is rejected
    with its segmentation or its report; a page alone is no result, unless nothing else went there.
    """
    if not (may.is_heeded and read.title.withdraws):
        return frozenset()
    rejected: set[str] = set()
    step = _step(read, now)
    for job_id in _succeeded(session, study_instance_uid):
        named, receivers = _named_of(session, job_id, frozenset(read.sop_instance_uids))
        if named and (may.is_for_all or receivers & may.destinations):
            change_job(session, job_id, JobState.SUCCEEDED, JobState.SUPERSEDED, step)
            # Who rejected it needs no note of ours on top.
            withdraw_deliveries(session, job_id, step, spared=may.destinations & receivers)
            rejected |= named
    return frozenset(rejected)


def _succeeded(session: Session, study_instance_uid: str) -> Collection[int]:
    statement = (
        select(Job.id)
        .where(Job.study_instance_uid == study_instance_uid, Job.state == JobState.SUCCEEDED)
        .order_by(Job.id)
        .with_for_update()
    )
    return session.scalars(statement).all()


def _named_of(
    session: Session, job_id: int, uids: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """What of a job's result is named, and the destinations that have it.

    What a note of ours took back there before does not count: it is not there any more.
    """
    told = select(Delivery.destination, Delivery.receipt).where(
        Delivery.job_id == job_id,
        Delivery.kind == DestinationKind.DICOM,
        Delivery.purpose == Purpose.TELL,
    )
    named: set[str] = set()
    receivers: set[str] = set()
    for destination, receipt in session.execute(told).all():
        arrived = arrived_objects(receipt)
        main = [item for item in arrived if item.kind in _RESULT] or list(arrived)
        hit = {item.sop_instance_uid for item in main} & uids
        if hit:
            named |= hit
            receivers.add(destination)
    return frozenset(named), frozenset(receivers)


def _step(read: ReadNote, now: datetime) -> Step:
    title = read.title
    text = f"a rejection note ({title}, {title.meaning}) took back this result at the PACS"
    return Step(Actor.ROUTING, now, None, RESULT_REJECTED, text)
