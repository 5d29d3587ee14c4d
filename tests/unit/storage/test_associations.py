from __future__ import annotations

from dataclasses import replace

import pytest

from storage.associations import (
    end_association,
    link_study,
    lose_associations_of,
    open_association,
    serving_receivers,
)
from storage.audit import list_audit
from storage.database import Database
from storage.errors import NotFound, StorageError
from storage.event_records import AuditRecord
from storage.studies import StudyProgress, open_studies
from tests.unit.storage.samples import NOW, STUDY, after, incoming, receive


def _open(db: Database, seconds: float = 0, receiver: str | None = None) -> int:
    return open_association(
        db,
        calling_ae_title="PACS",
        called_ae_title="RADNODE",
        address="192.0.2.1",
        now=after(seconds),
        receiver=receiver,
    )


def _progress(db: Database) -> StudyProgress:
    (progress,) = open_studies(db)
    return progress


_ENTRY = AuditRecord(NOW, "dicom_instances_transferred", "success", "PACS", {"stored": "2"})


def test_what_is_audited_of_an_end_is_kept_with_it_and_only_once(db: Database) -> None:
    """Told again by who does not know whether the database has heard it."""
    association_id = _open(db)
    assert end_association(db, association_id, end="released", now=after(1), audited=_ENTRY)
    assert not end_association(db, association_id, end="released", now=after(2), audited=_ENTRY)
    assert list_audit(db, limit=10) == (_ENTRY,)


def test_an_end_whose_audit_line_is_refused_is_not_written(db: Database) -> None:
    association_id = _open(db)
    refused = replace(_ENTRY, event=None)  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        end_association(db, association_id, end="released", now=after(1), audited=refused)
    assert list_audit(db, limit=10) == ()
    assert serving_receivers(db) == {None}
    assert end_association(db, association_id, end="released", now=after(1), audited=_ENTRY)


def test_nothing_is_audited_of_an_association_that_is_not_there(db: Database) -> None:
    with pytest.raises(NotFound):
        end_association(db, 4711, end="released", now=NOW, audited=_ENTRY)
    assert list_audit(db, limit=10) == ()


def test_the_first_end_counts(db: Database) -> None:
    association_id = _open(db)
    receive(db, incoming(association_id=association_id))
    end_association(db, association_id, end="aborted", now=after(1))
    assert not end_association(db, association_id, end="released", now=after(2))
    progress = _progress(db)
    assert progress.last_association_end == "aborted"
    assert progress.last_association_ended_at == after(1)


def test_an_association_that_never_was_cannot_end(db: Database) -> None:
    with pytest.raises(NotFound):
        end_association(db, 4711, end="released", now=NOW)


def test_progress_tells_running_associations_from_the_last_that_ended(db: Database) -> None:
    first, second, third = _open(db), _open(db), _open(db)
    for number, association_id in enumerate((first, second, third), 1):
        receive(db, incoming(number, association_id=association_id))
    end_association(db, second, end="released", now=after(5))
    end_association(db, first, end="aborted", now=after(6))
    progress = _progress(db)
    assert progress.running_associations == 1
    assert progress.last_association_end == "aborted"
    assert progress.last_association_ended_at == after(6)


def test_a_repeated_study_counts_as_being_sent(db: Database) -> None:
    """A sender whose first try was cut off sends everything anew: it is not done yet."""
    first = _open(db)
    receive(db, incoming(1, association_id=first))
    end_association(db, first, end="aborted", now=after(1))
    receive(db, incoming(1, association_id=_open(db, 2)))
    assert _progress(db).running_associations == 1


def test_a_result_that_comes_back_does_not_hold_its_study(db: Database) -> None:
    receive(db, incoming(1))
    receive(db, incoming(1, series="2.25.1", is_own_result=True, association_id=_open(db)))
    assert _progress(db).running_associations == 0


@pytest.mark.parametrize("receiver", ["radnode/ab/7", None])
def test_what_ran_when_its_receiver_died_is_lost_and_no_more(
    db: Database, receiver: str | None
) -> None:
    running, ended = _open(db, receiver=receiver), _open(db, receiver=receiver)
    _open(db, receiver="radnode/ab/8")
    receive(db, incoming(association_id=running))
    end_association(db, ended, end="released", now=after(1))
    assert serving_receivers(db) == {receiver, "radnode/ab/8"}

    assert lose_associations_of(db, receiver, now=after(10)) == 1
    assert lose_associations_of(db, receiver, now=after(11)) == 0

    assert serving_receivers(db) == {"radnode/ab/8"}
    progress = _progress(db)
    assert progress.running_associations == 0
    assert progress.last_association_end == "lost"
    assert progress.last_association_ended_at == after(10)


def test_the_clean_end_of_one_association_does_not_mend_the_abort_of_another(
    db: Database,
) -> None:
    first, second = _open(db), _open(db)
    for number, association_id in enumerate((first, second), 1):
        receive(db, incoming(number, association_id=association_id))
    end_association(db, first, end="aborted", now=after(2))
    end_association(db, second, end="released", now=after(3))
    progress = _progress(db)
    assert progress.last_association_end == "aborted"
    assert progress.last_association_ended_at == after(2)


def test_a_sender_that_came_back_after_an_abort_and_was_released_has_mended_it(
    db: Database,
) -> None:
    first = _open(db)
    receive(db, incoming(1, association_id=first))
    end_association(db, first, end="aborted", now=after(2))
    again = _open(db, 4)
    receive(db, incoming(2, association_id=again))
    end_association(db, again, end="released", now=after(5))
    assert _progress(db).last_association_end == "released"


def test_a_clock_that_was_set_back_makes_no_earlier_association_a_comeback(db: Database) -> None:
    first, cut = _open(db, 100), _open(db, 0)
    for number, association_id in enumerate((first, cut), 1):
        receive(db, incoming(number, association_id=association_id))
    end_association(db, cut, end="aborted", now=after(2))
    end_association(db, first, end="released", now=after(101))
    assert _progress(db).last_association_end == "aborted"

    back = _open(db, 3)
    receive(db, incoming(3, association_id=back))
    end_association(db, back, end="released", now=after(4))
    assert _progress(db).last_association_end == "released"


def test_an_association_may_be_tied_to_a_study_that_is_here_before_it_brings_any(
    db: Database,
) -> None:
    association_id = _open(db)
    assert not link_study(db, association_id, STUDY)
    receive(db, incoming(1))
    assert link_study(db, association_id, STUDY)
    assert link_study(db, association_id, STUDY)
    assert _progress(db).running_associations == 1
    end_association(db, association_id, end="aborted", now=after(1))
    assert _progress(db).last_association_end == "aborted"


def test_what_is_known_of_one_study_is_not_said_of_another(db: Database) -> None:
    """Many studies come at once; each has its own associations, ends and numbers."""
    running, released, broken = _open(db), _open(db), _open(db)
    for number, association_id in enumerate((running, released, broken, broken, released)):
        study = f"1.2.{number}"
        slices = [
            incoming(each, study=study, series=f"{study}.1", association_id=association_id)
            for each in range(number + 1)
        ]
        receive(db, *slices)
    receive(db, incoming(9, study="1.2.2", series="1.2.2.1", association_id=running))
    end_association(db, released, end="released", now=after(1))
    end_association(db, broken, end="lost", now=after(2))

    found = {
        one.study.header.study_instance_uid: (
            one.running_associations,
            one.last_association_end,
            one.last_association_ended_at,
            dict(one.series_counts),
        )
        for one in open_studies(db)
    }

    assert found == {
        "1.2.0": (1, None, None, {"1.2.0.1": 1}),
        "1.2.1": (0, "released", after(1), {"1.2.1.1": 2}),
        "1.2.2": (1, "lost", after(2), {"1.2.2.1": 4}),
        "1.2.3": (0, "lost", after(2), {"1.2.3.1": 4}),
        "1.2.4": (0, "released", after(1), {"1.2.4.1": 5}),
    }
