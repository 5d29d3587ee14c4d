"""One received instance becomes rows: the only way into study, series and instance."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import IncomingInstance, InstanceRecord, StoreOutcome
from storage.dicom_tables import Instance, ReplacedInstance, Series
from storage.errors import (
    Contended,
    DatabaseUnavailable,
    IdentityConflict,
    OutOfSpace,
    StorageError,
)
from storage.instance_files import InstanceFiles
from storage.instance_rows import Recorded, is_own_result, record_in
from storage.known_series import KnownSeries
from storage.rejection_notes import is_rejected
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.same_content import Content, SameContent
from storage.study_rows import instance_record

TRIES = 3
"""So often a transaction that gave way to another is begun."""


def record_instance(db: Database, incoming: IncomingInstance) -> StoreOutcome:
    """Record one instance whose file is durable; one transaction, in effect all or nothing.

    - DUPLICATE: the same dataset is here already; nothing of study, series and instance changes,
      and the caller discards its file.
    - REPLACED: another dataset under a known SOP Instance UID, or the known one is lost; the newest
      is the row, the old file stays on disk, named by a `replaced_instance` and told in the audit
      trail.
    - OWN_RESULT: one of our results came back; it never opens or re-opens a study.
    - STORED: new. STORED and REPLACED (re-)open the study; a new generation begins if the study
      had been complete.

    Raises:
        IdentityConflict: the study is known with another patient, or the series or instance
            under another study; nothing was recorded.
        DatabaseUnavailable: try again later. OutOfSpace: the database's disk is full.
    """
    (result,) = record_instances(db, (incoming,))
    if isinstance(result, StorageError):
        raise result
    return result


def record_instances(
    db: Database,
    batch: Sequence[IncomingInstance],
    known: KnownSeries | None = None,
    files: InstanceFiles | None = None,
) -> list[StoreOutcome | StorageError]:
    """Record many instances in as few transactions as can be; what became of each, in order.

    Each is recorded as by `record_instance`, or the error that this would raise stands in its
    place: one that cannot be recorded does not hold the others. All is committed on return.
    `known` is what the process remembers from call to call; without it every row is looked at.
    With `files` nothing is taken for a duplicate but by its bytes; without, by its digest.
    """
    results: dict[int, StoreOutcome | StorageError] = {}
    if known is not None:
        # Apart: a study that is not new after all sends nobody else the long way.
        for short in (known.covers, known.may_begin):
            places = [at for at, one in enumerate(batch) if short(one)]
            results |= _the_short_way(db, batch, places, known)
    long = [at for at in range(len(batch)) if at not in results]
    recorded = _the_long_way(db, [batch[at] for at in long], known, SameContent(files))
    results |= dict(zip(long, recorded, strict=True))
    return [results[at] for at in range(len(batch))]


def _the_short_way(
    db: Database, batch: Sequence[IncomingInstance], places: list[int], known: KnownSeries
) -> dict[int, StoreOutcome | StorageError]:
    """Record the instances at these places together, or none of them: then nothing is returned."""
    if not places:
        return {}
    try:
        if known.record(db, [batch[at] for at in places]):
            return dict.fromkeys(places, StoreOutcome.STORED)
    except StorageError as error:
        if _concerns_all(error):
            return dict.fromkeys(places, error)
        known.forget(batch)
    return {}


def _the_long_way(
    db: Database,
    batch: Sequence[IncomingInstance],
    known: KnownSeries | None,
    same: SameContent,
) -> list[StoreOutcome | StorageError]:
    """Record together; where one breaks the transaction of all, one after another."""
    if not batch:
        return []
    try:
        _compare_ahead(db, batch, same)
        if len(batch) > 1:
            return _together(db, batch, known, same)
    except StorageError as error:
        if _concerns_all(error):
            return [error] * len(batch)
    return [_alone(db, one, known, same) for one in batch]


def _compare_ahead(db: Database, batch: Sequence[IncomingInstance], same: SameContent) -> None:
    """Compare files before the transaction begins: large ones would hold up all others in it."""
    if same.files is None:
        return
    by_uid = {one.sop_instance_uid: one for one in batch}
    columns = Instance.sop_instance_uid, Instance.path, Instance.dataset_digest
    with db.read() as session:
        statement = select(*columns).where(Instance.sop_instance_uid.in_(by_uid))
        kept = session.execute(statement).all()
    for uid, *content in kept:
        with suppress(StorageError):  # told when it is its turn
            same.apart(by_uid[uid], [Content(*content)])
            same.is_same(by_uid[uid], Content(*content))


def _concerns_all(error: StorageError) -> bool:
    is_away = isinstance(error, DatabaseUnavailable) and not isinstance(error, Contended)
    return is_away or isinstance(error, OutOfSpace)


def _alone(
    db: Database,
    incoming: IncomingInstance,
    known: KnownSeries | None,
    same: SameContent,
) -> StoreOutcome | StorageError:
    for tries_left in reversed(range(TRIES)):
        try:
            return _together(db, [incoming], known, same)[0]
        except Contended as error:
            if not tries_left:
                return error
        except StorageError as error:
            return error
    raise AssertionError("unreachable")


def _together(
    db: Database,
    batch: Sequence[IncomingInstance],
    known: KnownSeries | None,
    same: SameContent,
) -> list[StoreOutcome | StorageError]:
    """Record in one transaction, in the order in which all transactions lock their rows."""
    recorded: dict[int, Recorded | IdentityConflict] = {}
    with db.begin() as session:
        for at in sorted(range(len(batch)), key=lambda at: _lock_order(batch[at])):
            recorded[at] = _in_savepoint(session, batch[at], same)
    if known is not None:
        for at, result in recorded.items():
            _learn(known, batch[at], result)
    results = (recorded[at] for at in range(len(batch)))
    return [one.outcome if isinstance(one, Recorded) else one for one in results]


def _lock_order(incoming: IncomingInstance) -> tuple[str, str, str]:
    series_uid = incoming.series.series_instance_uid
    return incoming.study.study_instance_uid, series_uid, incoming.sop_instance_uid


def _in_savepoint(
    session: Session, incoming: IncomingInstance, same: SameContent
) -> Recorded | IdentityConflict:
    try:
        with session.begin_nested():
            return record_in(session, incoming, same)
    except IdentityConflict as conflict:
        return conflict


def _learn(
    known: KnownSeries, incoming: IncomingInstance, result: Recorded | IdentityConflict
) -> None:
    if incoming.sop_class_uid == KEY_OBJECT_SELECTION:
        return  # it ties no association to the study, and never takes the short way
    if isinstance(result, Recorded) and result.outcome is StoreOutcome.STORED:
        known.learn(result.study, result.series, incoming)
    else:
        # What is sent again is not new: the short way would be tried in vain for each.
        known.forget((incoming,))


def instances_of_series(db: Database, series_instance_uid: str) -> tuple[InstanceRecord, ...]:
    """The instances of one series to be analysed, by Instance Number, then UID.

    Our own results are left out, notes on images, and what rejection notes took back.
    """
    statement = (
        select(Instance, Series.study_instance_uid)
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Instance.series_instance_uid == series_instance_uid)
        .where(Instance.is_own_result.is_(False), Instance.sop_class_uid != KEY_OBJECT_SELECTION)
        .where(~is_rejected())
    )
    with db.read() as session:
        records = [instance_record(row, study) for row, study in session.execute(statement)]
    return tuple(sorted(records, key=_order))


def is_kept(db: Database, path: str) -> bool:
    """Whether an instance, received or our own result, has or had its dataset in this very file."""
    has = exists().where(Instance.path == path)
    had = exists().where(ReplacedInstance.path == path)
    with db.read() as session:
        return bool(session.scalar(select(has | had)))


def is_own_sop_instance(db: Database, sop_instance_uid: str) -> bool:
    """Whether this node made the instance, as far as storage remembers."""
    with db.read() as session:
        return is_own_result(session, sop_instance_uid)


def _order(record: InstanceRecord) -> tuple[bool, int, str]:
    number = record.instance_number
    return number is None, number or 0, record.sop_instance_uid
