"""One received instance in an open transaction: the rows of study, series, instance and link."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from storage.dicom_records import IncomingInstance, StoreOutcome, StudyState
from storage.dicom_tables import AssociationStudy, Instance, ReplacedInstance, Series, Study
from storage.errors import ConflictReason, IdentityConflict
from storage.instance_files import uid_tag
from storage.job_tables import Audit, ResultObjectRow
from storage.rejection_notes import note_received
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.same_content import Content, SameContent
from storage.study_rows import (
    first_columns,
    instance_columns,
    is_same_patient,
    series_columns,
    study_columns,
)
from storage.upsert import insert_new, insert_or_lock

# Generation 0 exists only inside the transaction that creates a study.
JUST_CREATED = 0
DIGEST_SHOWN = 12


class Recorded(NamedTuple):
    """What became of an instance, and the rows it belongs to."""

    outcome: StoreOutcome
    study: Study
    series: Series


def record_in(session: Session, incoming: IncomingInstance, same: SameContent) -> Recorded:
    """Record one instance as `storage.instances.record_instance` promises; the caller commits.

    Raises:
        IdentityConflict: the transaction, or its savepoint, must be rolled back. StorageError: so
            must it; the instance had to be compared with a known one, and cannot be read.
    """
    is_own = incoming.is_own_result or is_own_result(session, incoming.sop_instance_uid)
    # A note on images is no image: it neither opens a study nor makes a new generation.
    is_image = not is_own and incoming.sop_class_uid != KEY_OBJECT_SELECTION
    study = study_row(session, incoming, not is_image)
    series = _series(session, incoming)
    outcome, incoming = _record(session, study, incoming, is_own, same)
    if is_image and outcome in (StoreOutcome.STORED, StoreOutcome.REPLACED):
        is_newer = outcome is StoreOutcome.REPLACED or study.state is StudyState.RESULTS_ONLY
        _update(study, study_columns(incoming.study), is_newer)
        _update(series, series_columns(incoming.series), is_newer)
        reopen(study, incoming)
    if is_image and outcome is StoreOutcome.REPLACED:
        study.resent_count = (study.resent_count or 0) + 1
    study.generation = study.generation or 1
    if is_image:
        _link(session, incoming)
    elif not is_own:
        note_received(session, incoming)
    return Recorded(outcome, study, series)


def is_own_result(session: Session, sop_instance_uid: str) -> bool:
    """Whether this node made the instance, as far as storage remembers."""
    made = exists().where(ResultObjectRow.sop_instance_uid == sop_instance_uid)
    marked = exists().where(
        Instance.sop_instance_uid == sop_instance_uid, Instance.is_own_result.is_(True)
    )
    return bool(session.scalar(select(made | marked)))


def study_row(session: Session, incoming: IncomingInstance, is_no_image: bool) -> Study:
    """The study's row, locked: instances of one study are recorded one after another."""
    state = StudyState.RESULTS_ONLY if is_no_image else StudyState.RECEIVING
    study = insert_or_lock(session, Study, first_columns(incoming, state, JUST_CREATED))
    if not is_same_patient(study, incoming.study.patient):
        raise IdentityConflict(
            ConflictReason.OTHER_PATIENT,
            f"study {uid_tag(study.study_instance_uid)} is known with another patient",
        )
    return study


def _series(session: Session, incoming: IncomingInstance) -> Series:
    study_uid = incoming.study.study_instance_uid
    values = series_columns(incoming.series) | {"study_instance_uid": study_uid}
    series = insert_or_lock(session, Series, values)
    if series.study_instance_uid != study_uid:
        raise IdentityConflict(
            ConflictReason.SERIES_IN_OTHER_STUDY,
            f"series {uid_tag(series.series_instance_uid)} is known in another study",
        )
    return series


def _record(
    session: Session, study: Study, incoming: IncomingInstance, is_own: bool, same: SameContent
) -> tuple[StoreOutcome, IncomingInstance]:
    """Record it; what became of it, and the instance with the digest that it goes by."""
    columns = instance_columns(incoming) | {"is_own_result": is_own}
    values = columns | {"sop_instance_uid": incoming.sop_instance_uid}
    if insert_new(session, Instance, values) is not None:
        return StoreOutcome.OWN_RESULT if is_own else StoreOutcome.STORED, incoming
    known = session.get_one(Instance, incoming.sop_instance_uid, with_for_update=True)
    _check_study(session, known, incoming)
    content = Content(known.path, known.dataset_digest)
    if same.is_same(incoming, content):
        return StoreOutcome.DUPLICATE, incoming._replace(dataset_digest=known.dataset_digest)
    incoming = same.apart(incoming, [content, *replaced_versions(session, incoming)])
    return _record_changed(session, study, known, incoming, is_own), incoming


def _record_changed(
    session: Session, study: Study, known: Instance, incoming: IncomingInstance, is_own: bool
) -> StoreOutcome:
    if incoming.is_late and known.received_at > incoming.received_at:
        _keep_older(session, study, known, incoming)
        return StoreOutcome.DUPLICATE
    if not is_own:
        _keep_aside(session, study, known, incoming)
    for name, value in instance_columns(incoming).items():
        setattr(known, name, value)
    known.is_own_result = is_own
    return StoreOutcome.OWN_RESULT if is_own else StoreOutcome.REPLACED


def replaced_versions(session: Session, incoming: IncomingInstance) -> list[Content]:
    """What its study had under its UID before, and which a job may have read."""
    statement = select(ReplacedInstance.path, ReplacedInstance.dataset_digest).where(
        ReplacedInstance.study_instance_uid == incoming.study.study_instance_uid,
        ReplacedInstance.sop_instance_uid == incoming.sop_instance_uid,
    )
    return [Content(*row) for row in session.execute(statement)]


def _keep_aside(
    session: Session, study: Study, known: Instance, incoming: IncomingInstance
) -> None:
    """Name the file that the row will point to no more, and tell it in the audit trail."""
    was_complete = study.state in (StudyState.READY, StudyState.ROUTED)
    _replaced(session, study, known, incoming, study.generation + was_complete)


def _keep_older(
    session: Session, study: Study, known: Instance, incoming: IncomingInstance
) -> None:
    """The same for a version that got its turn only after a newer one."""
    is_named = exists().where(ReplacedInstance.path == incoming.path)
    if not session.scalar(select(is_named)):
        _replaced(session, study, incoming, known, study.generation)


def _replaced(
    session: Session,
    study: Study,
    older: Instance | IncomingInstance,
    newer: Instance | IncomingInstance,
    generation: int,
) -> None:
    replaced = ReplacedInstance(
        study_instance_uid=study.study_instance_uid,
        sop_instance_uid=older.sop_instance_uid,
        path=str(older.path),
        dataset_digest=older.dataset_digest,
        generation=generation,
        replaced_at=newer.received_at,
    )
    session.add(replaced)
    incoming = newer if isinstance(newer, IncomingInstance) else older
    assert isinstance(incoming, IncomingInstance)
    detail = {
        "study": uid_tag(study.study_instance_uid),
        "series": uid_tag(incoming.series.series_instance_uid),
        "instance": uid_tag(older.sop_instance_uid),
        "before": older.dataset_digest[:DIGEST_SHOWN],
        "after": newer.dataset_digest[:DIGEST_SHOWN],
    }
    told = {"event": "instance_replaced", "outcome": "success", "detail": detail}
    session.add(Audit(at=newer.received_at, actor=incoming.calling_ae_title, **told))


def _check_study(session: Session, known: Instance, incoming: IncomingInstance) -> None:
    series = session.get_one(Series, known.series_instance_uid)
    if series.study_instance_uid != incoming.study.study_instance_uid:
        raise IdentityConflict(
            ConflictReason.INSTANCE_IN_OTHER_STUDY,
            f"instance {uid_tag(known.sop_instance_uid)} is known in another study",
        )


def _update(row: Study | Series, columns: dict[str, Any], is_newer: bool) -> None:
    """Fill what was empty; a newer version of known content also corrects what was not."""
    for name, value in columns.items():
        if value not in ("", None) and (is_newer or getattr(row, name) in ("", None)):
            setattr(row, name, value)


def reopen(study: Study, incoming: IncomingInstance) -> None:
    """Something new came: the study is being received, in a new generation if it was complete."""
    if study.generation == JUST_CREATED:
        return
    if study.state is StudyState.RESULTS_ONLY:
        study.first_received_at = incoming.received_at
    if study.state in (StudyState.READY, StudyState.ROUTED):
        study.generation += 1
        study.complete_evidence, study.complete_at = "", None
        study.resent_count = 0
    study.state = StudyState.RECEIVING
    study.calling_ae_title = incoming.calling_ae_title
    study.last_received_at = _other_than(study.last_received_at, incoming.received_at)


def _other_than(last: datetime, received_at: datetime) -> datetime:
    """`received_at`, a hair later if need be: `mark_ready` must see that something came."""
    return received_at + timedelta(microseconds=1) if received_at == last else received_at


def _link(session: Session, incoming: IncomingInstance) -> None:
    # Also for a duplicate: a sender that repeats a whole study is still at work on it.
    if incoming.association_id is not None:
        study_uid = incoming.study.study_instance_uid
        link = {"association_id": incoming.association_id, "study_instance_uid": study_uid}
        insert_new(session, AssociationStudy, link)
