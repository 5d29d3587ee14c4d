from __future__ import annotations

from dataclasses import replace

import pytest

from storage.commitment_reports import (
    due_commitments,
    kept_instances,
    postpone_report,
    request_commitment,
    settle_report,
)
from storage.database import Database
from storage.evidence_records import (
    IncomingList,
    ListedSop,
    ListEvidence,
    ListSource,
    ReportState,
)
from storage.instance_files import InstanceFiles
from storage.instance_lists import change_step, record_list
from storage.retention import purge
from storage.studies import mark_ready, open_studies
from tests.unit.storage.samples import (
    MR_IMAGE,
    SERIES,
    STUDY,
    after,
    incoming,
    job_result,
    make_deliveries,
    receive,
)

OTHER_SERIES = "1.2.3.1.2"
COMMITMENT, STEP = ListSource.STORAGE_COMMITMENT, ListSource.PERFORMED_STEP
AVAILABILITY = ListSource.AVAILABILITY


def _sops(
    count: int, series: str = SERIES, *, study: str = STUDY, is_required: bool = True
) -> tuple[ListedSop, ...]:
    uids = [f"{series}.{number}" for number in range(1, count + 1)]
    return tuple(ListedSop(MR_IMAGE, uid, series, study, is_required) for uid in uids)


def _list(
    instances: tuple[ListedSop, ...] = (),
    *,
    source: ListSource = AVAILABILITY,
    uid: str = "1.9.1",
    study: str = STUDY,
    is_open: bool = False,
    seconds: float = 0,
) -> IncomingList:
    return IncomingList(source, "PACS", uid, study, instances, after(seconds), is_open)


def _commitment(instances: tuple[ListedSop, ...], uid: str = "1.9.7") -> IncomingList:
    bare = tuple(ListedSop(one.sop_class_uid, one.sop_instance_uid) for one in instances)
    return _list(bare, source=COMMITMENT, uid=uid, study="")


def _evidence(db: Database, study: str = STUDY) -> ListEvidence:
    found = {each.study.header.study_instance_uid: each for each in open_studies(db)}
    return found[study].lists


def test_without_a_list_there_is_no_evidence(db: Database) -> None:
    receive(db)
    assert _evidence(db) == ListEvidence()
    assert not _evidence(db).is_proof


def test_a_list_proves_a_study_when_all_of_it_has_come(db: Database) -> None:
    receive(db, incoming(1))
    assert record_list(db, _list(_sops(2)))
    assert _evidence(db) == ListEvidence((AVAILABILITY,), missing=1)
    receive(db, incoming(2))
    assert _evidence(db).is_proof


def test_a_list_that_comes_before_its_study_is_kept(db: Database) -> None:
    record_list(db, _list(_sops(2)))
    receive(db, incoming(1))
    assert _evidence(db).missing == 1
    receive(db, incoming(2))
    assert _evidence(db).is_proof


def test_a_list_of_one_series_says_nothing_of_another(db: Database) -> None:
    receive(db, incoming(1), incoming(1, series=OTHER_SERIES))
    record_list(db, _list(_sops(1)))
    assert _evidence(db) == ListEvidence((AVAILABILITY,), unlisted={OTHER_SERIES: 1})
    assert not _evidence(db).is_proof


def test_several_lists_unite(db: Database) -> None:
    receive(db, incoming(1), incoming(1, series=OTHER_SERIES))
    record_list(db, _list(_sops(1)))
    request_commitment(db, _commitment(_sops(1, OTHER_SERIES)))
    assert _evidence(db) == ListEvidence((AVAILABILITY, COMMITMENT))
    assert _evidence(db).is_proof


def test_a_commitment_names_no_study_and_is_found_by_its_instances(db: Database) -> None:
    request_commitment(db, _commitment(_sops(2)))
    receive(db, incoming(1))
    assert _evidence(db) == ListEvidence((COMMITMENT,), missing=1)
    receive(db, incoming(2))
    assert _evidence(db).is_proof


def test_a_commitment_over_two_studies_holds_each_until_all_is_here(db: Database) -> None:
    request_commitment(db, _commitment(_sops(1) + _sops(1, "1.2.4.1")))
    receive(db, incoming(1))
    assert _evidence(db).missing == 1
    receive(db, incoming(1, study="1.2.4", series="1.2.4.1"))
    assert _evidence(db).is_proof
    assert _evidence(db, "1.2.4").is_proof


def test_the_missing_of_another_study_are_not_waited_for(db: Database) -> None:
    record_list(db, _list(_sops(5, "1.2.4.1", study="1.2.4"), study="1.2.4"))
    receive(db, incoming(1))
    assert _evidence(db) == ListEvidence()


def test_what_is_not_required_is_not_waited_for(db: Database) -> None:
    receive(db, incoming(1))
    report = (ListedSop("1.2.840.10008.5.1.4.1.1.88.33", "1.2.3.9", "1.2.3.8", STUDY, False),)
    record_list(db, _list(_sops(1) + report))
    assert _evidence(db).is_proof


def test_a_sender_may_take_back_what_it_announced(db: Database) -> None:
    receive(db, incoming(1))
    record_list(db, _list(_sops(2)))
    assert _evidence(db).missing == 1
    record_list(db, _list(_sops(2, is_required=False)[1:], uid="1.9.2", seconds=1))
    assert _evidence(db).is_proof


def test_no_sender_takes_back_what_another_has_announced(db: Database) -> None:
    receive(db, incoming(1))
    record_list(db, _list(_sops(2), source=STEP))
    unavailable = _list(_sops(2, is_required=False), uid="1.9.2")
    record_list(db, replace(unavailable, calling_ae_title="OTHER"))
    assert _evidence(db).missing == 1
    record_list(db, replace(unavailable, list_uid="1.9.3"))
    assert _evidence(db).missing == 0


def test_our_own_results_in_a_list_are_here(db: Database) -> None:
    make_deliveries(db, "pacs")
    own = job_result("2.25.1").objects[0]
    receive(db, incoming(7))
    listed = (*_sops(7)[6:], ListedSop(own.sop_class_uid, own.sop_instance_uid, "", STUDY))
    record_list(db, _list((*_sops(1), *listed)))
    assert _evidence(db).is_proof


def test_the_same_list_again_changes_nothing(db: Database) -> None:
    receive(db, incoming(1))
    assert record_list(db, _list(_sops(1)))
    assert not record_list(db, _list(_sops(9)))
    assert _evidence(db).is_proof


def test_a_step_in_progress_announces_more_and_its_end_names_it(db: Database) -> None:
    assert record_list(db, _list(source=STEP, is_open=True))
    receive(db, incoming(1))
    assert _evidence(db).open_steps == 1
    assert _evidence(db).waits_for_more
    end = _list(_sops(1, study=""), source=STEP, study="", seconds=5)
    assert change_step(db, end, replaces_instances=True)
    assert _evidence(db).is_proof
    assert not change_step(db, end, replaces_instances=True)


def test_a_step_that_ends_without_naming_images_keeps_those_named_before(db: Database) -> None:
    record_list(db, _list(_sops(2), source=STEP, is_open=True))
    receive(db, incoming(1))
    change_step(db, _list(source=STEP, seconds=5), replaces_instances=False)
    assert _evidence(db) == ListEvidence((STEP,), missing=1)


def test_a_step_of_which_only_the_end_is_heard_counts(db: Database) -> None:
    receive(db, incoming(1))
    assert change_step(db, _list(_sops(1), source=STEP), replaces_instances=True)
    assert _evidence(db).is_proof


def test_old_lists_of_studies_that_never_came_are_forgotten(
    db: Database, files: InstanceFiles
) -> None:
    record_list(db, _list(_sops(1), uid="1.9.1"))
    record_list(db, _list(_sops(1, "1.2.4.1", study="1.2.4"), uid="1.9.2", study="1.2.4"))
    receive(db, incoming(1))
    purge(db, files, older_than=after(10))
    receive(db, incoming(1, study="1.2.4", series="1.2.4.1"))
    assert _evidence(db).is_proof
    assert _evidence(db, "1.2.4") == ListEvidence()


def _complete(db: Database, seconds: float) -> None:
    (progress,) = open_studies(db)
    assert mark_ready(
        db,
        STUDY,
        generation=progress.study.generation,
        last_received_at=progress.study.last_received_at,
        evidence="pacs_counts",
        now=after(seconds),
    )


def test_a_late_instance_is_no_resending(db: Database) -> None:
    receive(db, incoming(1), incoming(2))
    _complete(db, 10)
    receive(db, incoming(3, received_at=after(20)))
    (progress,) = open_studies(db)
    assert not progress.is_resent


def test_a_study_is_resent_until_all_has_come_anew(db: Database) -> None:
    receive(db, incoming(1), incoming(2))
    _complete(db, 10)
    receive(db, incoming(1, content="corrected", received_at=after(20)))
    (progress,) = open_studies(db)
    assert progress.study.generation == 2
    assert progress.is_resent
    receive(db, incoming(2, content="corrected", received_at=after(21)))
    (progress,) = open_studies(db)
    assert not progress.is_resent


def test_a_replacement_in_a_study_that_was_never_complete_is_no_resending(db: Database) -> None:
    receive(db, incoming(1), incoming(2), incoming(1, content="corrected"))
    (progress,) = open_studies(db)
    assert not progress.is_resent


def test_a_request_owes_a_report_until_it_is_settled(db: Database) -> None:
    assert request_commitment(db, _commitment(_sops(2)))
    (due,) = due_commitments(db, now=after(0))
    assert due.transaction_uid == "1.9.7"
    assert due.calling_ae_title == "PACS"
    assert [one.sop_instance_uid for one in due.instances] == [f"{SERIES}.1", f"{SERIES}.2"]
    postpone_report(db, due, due_at=after(60), reason="no_association")
    assert due_commitments(db, now=after(59)) == ()
    (due,) = due_commitments(db, now=after(60))
    assert due.attempts == 1
    settle_report(db, due, ReportState.REPORTED, now=after(61))
    assert due_commitments(db, now=after(1000)) == ()


def test_the_same_request_again_is_reported_again(db: Database) -> None:
    request_commitment(db, _commitment(_sops(2)))
    (due,) = due_commitments(db, now=after(0))
    settle_report(db, due, ReportState.REPORTED, now=after(1))
    assert not request_commitment(db, _commitment(_sops(2)))
    (again,) = due_commitments(db, now=after(2))
    assert not again.is_duplicate


def test_another_request_under_the_same_uid_is_a_duplicate(db: Database) -> None:
    request_commitment(db, _commitment(_sops(2)))
    assert not request_commitment(db, _commitment(_sops(3)))
    first, second = due_commitments(db, now=after(0))
    assert (first.is_duplicate, second.is_duplicate) == (False, True)
    assert (len(second.instances), second.transaction_uid) == (3, "1.9.7")


@pytest.mark.parametrize("count", [1, 1200])
def test_the_books_tell_class_and_file_of_what_is_kept(db: Database, count: int) -> None:
    receive(db, incoming(1))
    asked = tuple(one.sop_instance_uid for one in _sops(count))
    found = kept_instances(db, asked)
    assert set(found) == {f"{SERIES}.1"}
    assert (found[f"{SERIES}.1"].sop_class_uid, found[f"{SERIES}.1"].size_bytes) == (MR_IMAGE, 1001)
