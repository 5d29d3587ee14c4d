"""Rejection notes that came (IHE IOCM): kept with their instance, settled once, in effect or not.

A note is noted in the transaction that records its instance, so that none is lost between its
acknowledgement and its effect. What it takes back stays on disk, and is not analysed any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from sqlalchemy import ColumnElement, CursorResult, and_, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import IncomingInstance, StudyState
from storage.dicom_tables import Association, AssociationStudy, Instance, Series, Study
from storage.instance_files import uid_tag
from storage.job_state import change_job
from storage.job_tables import Audit, Job
from storage.records import JobState
from storage.rejected_results import NO_RESULTS, ResultRules, reject_results
from storage.rejection_records import KeptNote, NoteRow, NoteState, ReadNote, RejectionCode
from storage.rejection_tables import NamedInstance, RejectionNote
from storage.state_change import Actor, Step
from storage.upsert import insert_new
from storage.withdrawal import withdraw_deliveries

IMAGES_REJECTED: Final = "images_rejected"
IMAGES_EXPIRED: Final = "images_expired"
_WITHDRAWING = tuple(code.value for code in RejectionCode if code.withdraws)
_WAITING_STUDIES = (StudyState.READY, StudyState.ROUTED)

# Put together once: it is asked several times a second, and building it takes longest.
_UNSETTLED = (
    select(RejectionNote)
    .join(Study, Study.study_instance_uid == RejectionNote.study_instance_uid)
    .where(
        or_(
            RejectionNote.state == NoteState.UNREAD,
            and_(RejectionNote.state == NoteState.WAITING, Study.state.in_(_WAITING_STUDIES)),
        )
    )
    .order_by(RejectionNote.id)
)

MayReject = Callable[[str, frozenset[str]], bool]
"""Whether a sender (AE title) may reject images that these senders sent."""


def note_received(session: Session, incoming: IncomingInstance) -> None:
    """Keep a Key Object Selection that was recorded in the same transaction, to be read later."""
    columns = {
        "study_instance_uid": incoming.study.study_instance_uid,
        "sop_instance_uid": incoming.sop_instance_uid,
        "dataset_digest": incoming.dataset_digest,
        "path": incoming.path,
        "calling_ae_title": incoming.calling_ae_title,
        "received_at": incoming.received_at,
        "state": NoteState.UNREAD,
        "title": "",
    }
    insert_new(session, RejectionNote, columns)


def unsettled_notes(db: Database) -> tuple[KeptNote, ...]:
    """The notes to be looked at, oldest first: new ones, and those whose images have come."""
    with db.read() as session:
        return tuple(
            KeptNote(row.id, row.study_instance_uid, PurePosixPath(row.path), row.calling_ae_title)
            for row in session.scalars(_UNSETTLED)
        )


def dismiss_note(db: Database, note: KeptNote, state: NoteState, *, now: datetime) -> None:
    """Settle a note that rejects nothing here, as `state` says."""
    with db.begin() as session:
        _settle(session, note, state, "", now)


def settle_note(
    db: Database,
    note: KeptNote,
    read: ReadNote,
    *,
    may_reject: MayReject,
    results: ResultRules = NO_RESULTS,
    now: datetime,
) -> tuple[str, ...]:
    """Obey a note, or not; returns the ids of the workers whose jobs it stopped.

    In one transaction: what it names, the jobs that read it, and the study, which is routed again.
    Of our own results `results` says which ones the note may reject.
    """
    with db.begin() as session:
        # The study is locked first, as routing and the end of a job do.
        study = session.get_one(Study, note.study_instance_uid, with_for_update=True)
        senders = _senders(session, study)
        if note.calling_ae_title in senders:
            results = replace(results, is_for_all=True)
        if not senders or not may_reject(note.calling_ae_title, senders):
            _settle_results(session, note, read, study, results, now)
            return ()
        new = _in_use(session, study, read.sop_instance_uids)
        _keep_names(session, note, read.sop_instance_uids)
        _settle(session, note, NoteState.OBEYED, read.title, now, len(read.sop_instance_uids))
        stopped = _stop_jobs(session, study, read, new, now)
        reject_results(session, note.study_instance_uid, read, results, now)
        if new and read.title.withdraws:
            _route_again(study)
        return stopped


def _settle_results(
    session: Session,
    note: KeptNote,
    read: ReadNote,
    study: Study,
    results: ResultRules,
    now: datetime,
) -> None:
    """Settle a note of somebody who may reject no images here: results of ours, or nothing."""
    rejected = reject_results(session, note.study_instance_uid, read, results, now)
    if rejected:
        _keep_names(session, note, rejected)
        _settle(session, note, NoteState.OBEYED, read.title, now, len(rejected))
        return
    is_decided = study.state in _WAITING_STUDIES
    state = NoteState.NOT_OBEYED if is_decided else NoteState.WAITING
    _settle(session, note, state, read.title, now, len(read.sop_instance_uids))


def is_rejected() -> ColumnElement[bool]:
    """Whether an `Instance`, joined with its `Series`, was taken back by a note that counts."""
    return exists().where(
        NamedInstance.sop_instance_uid == Instance.sop_instance_uid,
        RejectionNote.id == NamedInstance.note_id,
        RejectionNote.study_instance_uid == Series.study_instance_uid,
        RejectionNote.state == NoteState.OBEYED,
        RejectionNote.title.in_(_WITHDRAWING),
    )


def rejected_counts(session: Session, study_uids: Collection[str]) -> dict[str, int]:
    """How many of the instances that are here were taken back, by Study Instance UID."""
    statement = (
        select(Series.study_instance_uid, func.count())
        .join(Instance, Instance.series_instance_uid == Series.series_instance_uid)
        .where(Series.study_instance_uid.in_(study_uids), is_rejected())
        .group_by(Series.study_instance_uid)
    )
    return dict(session.execute(statement).all())


def rejected_count(db: Database, study_instance_uid: str) -> int:
    """How many of a study's instances were taken back."""
    with db.read() as session:
        return rejected_counts(session, [study_instance_uid]).get(study_instance_uid, 0)


def note_rows(session: Session, study_uids: Collection[str]) -> dict[str, tuple[NoteRow, ...]]:
    """What a person sees of the rejection notes, by Study Instance UID, oldest first."""
    statement = (
        select(RejectionNote)
        .where(RejectionNote.study_instance_uid.in_(study_uids))
        .where(RejectionNote.state != NoteState.NO_REJECTION)
        .order_by(RejectionNote.id)
    )
    found: dict[str, tuple[NoteRow, ...]] = {}
    for row in session.scalars(statement):
        told = NoteRow(row.title, row.state, row.calling_ae_title, row.received_at)
        found[row.study_instance_uid] = (*found.get(row.study_instance_uid, ()), told)
    return found


def _settle(
    session: Session, note: KeptNote, state: NoteState, title: str, now: datetime, named: int = 0
) -> None:
    """Change a note's state by compare-and-set, with its line in the audit trail."""
    open_states = NoteState.UNREAD, NoteState.WAITING
    changed = session.execute(
        update(RejectionNote)
        .where(RejectionNote.id == note.note_id, RejectionNote.state.in_(open_states))
        .where(RejectionNote.state != state)
        .values(state=state, title=title, settled_at=now)
    )
    if isinstance(changed, CursorResult) and changed.rowcount == 1:
        study = uid_tag(note.study_instance_uid)
        detail = {"study": study, "title": title, "named": str(named), "state": state.value}
        told = {"event": "rejection_note", "outcome": "success", "detail": detail}
        session.add(Audit(at=now, actor=note.calling_ae_title, **told))


def _keep_names(session: Session, note: KeptNote, named: Collection[str]) -> None:
    """All at once: a note on a large series names thousands."""
    uids = sorted(set(named))
    if uids:
        rows = [{"note_id": note.note_id, "sop_instance_uid": uid} for uid in uids]
        session.execute(insert(NamedInstance), rows)


def _senders(session: Session, study: Study) -> frozenset[str]:
    """Who sent images of the study; nobody, where none has come."""
    if study.state is StudyState.RESULTS_ONLY:
        return frozenset()
    sent = (
        select(Association.calling_ae_title)
        .join(AssociationStudy, AssociationStudy.association_id == Association.id)
        .where(AssociationStudy.study_instance_uid == study.study_instance_uid)
    )
    return frozenset(session.scalars(sent)) | {study.calling_ae_title}


def _in_use(session: Session, study: Study, uids: Collection[str]) -> frozenset[str]:
    """Which of the instances are here and were not taken back before."""
    here = (
        select(Instance.sop_instance_uid)
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Series.study_instance_uid == study.study_instance_uid)
        .where(Instance.is_own_result.is_(False), ~is_rejected())
    )
    return frozenset(session.scalars(here)) & frozenset(uids)


def _stop_jobs(
    session: Session, study: Study, read: ReadNote, gone: Collection[str], now: datetime
) -> tuple[str, ...]:
    """Stop the jobs that read what is gone, and take back what they told, unless it stands."""
    states = [JobState.QUEUED, JobState.RUNNING]
    if read.title.withdraws:
        states.append(JobState.SUCCEEDED)
    statement = (
        select(Job)
        .where(Job.study_instance_uid == study.study_instance_uid, Job.state.in_(states))
        .order_by(Job.id)
        .with_for_update()
    )
    step, workers = _step(read.title, now), []
    for job in session.scalars(statement).all():
        if _input_uids(job).isdisjoint(gone):
            continue
        if job.state is JobState.RUNNING and job.worker_id:
            workers.append(job.worker_id)
        change_job(session, job.id, job.state, JobState.SUPERSEDED, step)
        withdraw_deliveries(session, job.id, step)
    return tuple(workers)


def _input_uids(job: Job) -> set[str]:
    return {one["sop_instance_uid"] for given in job.inputs for one in given["instances"]}


def _step(title: RejectionCode, now: datetime) -> Step:
    if title.withdraws:
        text = f"a rejection note ({title}, {title.meaning}) took back images that this job reads"
        return Step(Actor.ROUTING, now, None, IMAGES_REJECTED, text)
    text = f"a rejection note ({title}, {title.meaning}) came before this job had ended"
    return Step(Actor.ROUTING, now, None, IMAGES_EXPIRED, text)


def _route_again(study: Study) -> None:
    """A complete study goes on without what was taken back, as a new generation."""
    if study.state in _WAITING_STUDIES:
        study.state = StudyState.READY
        study.generation += 1
