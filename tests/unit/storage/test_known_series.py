from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import storage.instance_recorder
import storage.instances
from storage.associations import open_association
from storage.database import Database, open_database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.dicom_tables import Study
from storage.errors import IdentityConflict, StorageError
from storage.instances import instances_of_series, record_instance, record_instances
from storage.known_series import KnownSeries
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.studies import get_study, mark_ready, open_studies, series_of_study
from tests.unit.storage.samples import NOW, PATIENT, SERIES, STUDY, after, incoming, make_ready


def _in_order(db: Database, batch: list[IncomingInstance]) -> list[str]:
    """What a fresh database would say, one instance after another."""
    told = []
    for one in batch:
        try:
            told.append(str(record_instance(db, one)))
        except StorageError as error:
            told.append(type(error).__name__)
    return told


def _instances(study: str) -> st.SearchStrategy[IncomingInstance]:
    return st.builds(
        lambda number, series, content, patient: incoming(
            number,
            study=study,
            series=f"{study}.{series}",
            content=content,
            patient=replace(PATIENT, patient_id=patient),
        ),
        st.integers(1, 4),
        st.integers(1, 2),
        st.sampled_from(["", "", "", "new"]),
        st.sampled_from(["PID-1", "PID-1", "PID-1", "PID-2"]),
    )


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_groups_with_a_memory_end_as_single_instances_do(db: Database, data: st.DataObject) -> None:
    with db.read() as session:
        count = session.connection().exec_driver_sql("SELECT count(*) FROM study").scalar_one()
    study, twin = f"1.7.{count}", f"1.8.{count}"
    batch = data.draw(st.lists(_instances(study), max_size=12))
    # The order within a group is the database's lock order, so a group holds no UID twice.
    groups: list[list[IncomingInstance]] = [[]]
    for one in batch:
        size = data.draw(st.integers(1, 3))
        uids = {each.sop_instance_uid for each in groups[-1]}
        if len(groups[-1]) >= size or one.sop_instance_uid in uids or _differs(groups[-1], one):
            groups.append([])
        groups[-1].append(one)
    known = KnownSeries()
    told = [
        str(result) if isinstance(result, StoreOutcome) else type(result).__name__
        for group in groups
        for result in record_instances(db, group, known)
    ]
    renamed = [_renamed(one, study, twin) for one in batch]
    assert told == _in_order(db, renamed)
    counts = [[one.instance_count for one in series_of_study(db, uid)] for uid in (study, twin)]
    assert counts[0] == counts[1]


def _differs(group: list[IncomingInstance], one: IncomingInstance) -> bool:
    return any(each.study.patient != one.study.patient for each in group)


def _renamed(one: IncomingInstance, study: str, twin: str) -> IncomingInstance:
    series_uid = one.series.series_instance_uid.replace(study, twin)
    return one._replace(
        study=replace(one.study, study_instance_uid=twin),
        series=replace(one.series, series_instance_uid=series_uid),
        sop_instance_uid=one.sop_instance_uid.replace(study, twin),
    )


def test_the_short_way_leaves_the_same_rows_and_links(db: Database) -> None:
    association = _association(db)
    known = KnownSeries()
    for number in range(1, 4):
        one = incoming(number, association_id=association, received_at=after(number))
        assert record_instances(db, [one], known) == [StoreOutcome.STORED]
    assert known.covers(incoming(9))
    (progress,) = open_studies(db)
    assert progress.running_associations == 1
    assert progress.study.last_received_at == after(3)
    last = instances_of_series(db, SERIES)[-1]
    assert (last.received_at, str(last.path)) == (after(3), incoming(3).path)


def test_a_study_that_another_process_completed_is_opened_again(db: Database, db_url: str) -> None:
    known = KnownSeries()
    record_instances(db, [incoming(1)], known)
    other = open_database(db_url)
    make_ready(other)
    other.close()
    assert known.covers(incoming(2))
    assert record_instances(db, [incoming(2, received_at=after(9))], known) == [StoreOutcome.STORED]
    assert get_study(db, STUDY).generation == 2


def test_the_short_way_is_seen_by_who_completes_the_study(db: Database) -> None:
    known = KnownSeries()
    record_instances(db, [incoming(1)], known)
    seen = get_study(db, STUDY)
    record_instances(db, [incoming(2)], known)
    assert not mark_ready(
        db,
        STUDY,
        generation=seen.generation,
        last_received_at=seen.last_received_at,
        evidence="quiet time",
        now=NOW,
    )


def test_our_own_results_never_take_the_short_way(db: Database) -> None:
    known = KnownSeries()
    record_instances(db, [incoming(1)], known)
    assert not known.covers(incoming(2, is_own_result=True))


def test_what_fills_an_empty_attribute_goes_the_long_way(db: Database) -> None:
    known = KnownSeries()
    record_instances(db, [incoming(1)], known)
    fuller = incoming(2)._replace(study=replace(incoming().study, study_description="head"))
    record_instances(db, [fuller], known)
    assert get_study(db, STUDY).header.study_description == "head"


def _association(db: Database) -> int:
    return open_association(
        db, calling_ae_title="PACS", called_ae_title="RADNODE", address="", now=NOW
    )


def test_a_new_series_of_a_known_study_goes_the_short_way(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KnownSeries()
    first, second = _association(db), _association(db)
    record_instances(db, [incoming(1, association_id=first)], known)
    monkeypatch.setattr(storage.instances, "_together", None)
    localizer = replace(
        incoming(7, series="1.2.3.4.9", association_id=second).series,
        series_description="localizer",
        series_number=None,
    )
    new = [
        incoming(number, association_id=second, received_at=after(number))._replace(
            series=localizer
        )
        for number in (7, 8)
    ]
    assert not known.expects(new[0])
    assert record_instances(db, new, known) == [StoreOutcome.STORED] * 2
    assert known.expects(new[0]._replace(sop_instance_uid="1.2.3.9"))
    told = {one.header.series_instance_uid: one for one in series_of_study(db, STUDY)}
    assert told[localizer.series_instance_uid].header == localizer
    assert told[localizer.series_instance_uid].instance_count == 2
    (progress,) = open_studies(db)
    assert (progress.running_associations, progress.study.last_received_at) == (2, after(8))


def test_a_series_that_another_process_has_met_goes_the_long_way(db: Database, db_url: str) -> None:
    known = KnownSeries()
    record_instances(db, [incoming(1)], known)
    other = open_database(db_url)
    record_instance(other, incoming(5, series="1.2.3.4.9"))
    record_instance(other, incoming(6, study="1.2.7", series="1.2.7.1"))
    other.close()
    met = incoming(7, series="1.2.3.4.9")
    elsewhere = incoming(8, series="1.2.7.1")
    assert record_instances(db, [met], known) == [StoreOutcome.STORED]
    (conflict,) = record_instances(db, [elsewhere], known)
    assert isinstance(conflict, IdentityConflict)


def test_a_note_on_images_ties_no_association_to_a_study(db: Database) -> None:
    known = KnownSeries()
    first, second = _association(db), _association(db)
    record_instances(db, [incoming(1, association_id=first)], known)
    note = incoming(9, series="1.2.3.4.9", association_id=second)._replace(
        sop_class_uid=KEY_OBJECT_SELECTION
    )
    record_instances(db, [note], known)
    image = incoming(2, association_id=second)
    assert not known.expects(image)
    record_instances(db, [image], known)
    (progress,) = open_studies(db)
    assert progress.running_associations == 2


def test_a_series_of_a_study_that_was_deleted_and_came_again_is_looked_at_anew(
    db: Database, db_url: str
) -> None:
    known = KnownSeries()
    record_instances(db, [incoming(1), incoming(2, series="1.2.3.4.9")], known)
    with db.begin() as session:
        session.delete(session.get_one(Study, STUDY))
    other = open_database(db_url)
    bare = replace(incoming().series, series_instance_uid="1.2.3.4.9", series_description="")
    record_instance(
        other, incoming(3, series="1.2.3.4.9", received_at=after(9))._replace(series=bare)
    )
    other.close()
    for one in (incoming(4, received_at=after(10)), incoming(5, series="1.2.3.4.9")):
        assert record_instances(db, [one], known) == [StoreOutcome.STORED]
    told = {one.header.series_instance_uid: one.header for one in series_of_study(db, STUDY)}
    assert told["1.2.3.4.9"].series_description == "T1"


def test_of_a_new_series_all_must_say_the_same(db: Database) -> None:
    known = KnownSeries()
    record_instances(db, [incoming(1)], known)
    silent = replace(incoming().series, series_instance_uid="1.2.3.4.9", series_description="")
    plain = incoming(2, series="1.2.3.4.9")._replace(series=silent)
    fuller = incoming(3, series="1.2.3.4.9")._replace(
        series=replace(silent, series_description="portal venous"),
    )
    assert record_instances(db, [plain, fuller], known) == [StoreOutcome.STORED] * 2
    told = {one.header.series_instance_uid: one.header for one in series_of_study(db, STUDY)}
    assert told["1.2.3.4.9"].series_description == "portal venous"
