from __future__ import annotations

from pathlib import Path

import pytest

from storage.audit import list_audit
from storage.dicom_records import StudyState
from storage.instances import instances_of_series
from storage.studies import get_study, open_studies
from tests.integration.node_receive.mr_study import SERIES, STUDY, dataset_bytes, mr_series
from tests.integration.node_receive.running_listener import CALLED, CALLING, Running
from tests.peers.dcmtk import echoscu, storescu
from tests.peers.ports import wait_until

pytestmark = pytest.mark.peer("dcmtk")


def test_an_echo_is_answered(running: Running) -> None:
    result = echoscu(running.port, calling=CALLING, called=CALLED)

    assert result.returncode == 0, result.stdout


def test_a_series_arrives_byte_for_byte_and_the_study_is_receiving(
    running: Running, tmp_path: Path
) -> None:
    sent = mr_series(tmp_path / "sent", 5)

    result = storescu(running.port, sent, calling=CALLING, called=CALLED)

    assert result.returncode == 0, result.stdout
    records = instances_of_series(running.db, SERIES)
    kept = [running.files.absolute(record.path) for record in records]
    assert [dataset_bytes(path) for path in kept] == [dataset_bytes(path) for path in sent]
    study = get_study(running.db, STUDY)
    assert study.state is StudyState.RECEIVING
    assert study.header.patient.patient_name == "Müller^Änne"
    assert study.calling_ae_title == CALLING


def test_a_clean_release_ends_the_association_and_tells_who_waits(
    running: Running, tmp_path: Path
) -> None:
    storescu(running.port, mr_series(tmp_path, 2), calling=CALLING, called=CALLED)

    assert running.changes.acquire(timeout=10)
    (progress,) = open_studies(running.db)
    assert progress.running_associations == 0
    assert progress.last_association_end == "released"
    assert progress.series_counts == {SERIES: 2}
    (entry,) = list_audit(running.db, 10)
    assert (entry.event, entry.outcome) == ("dicom_instances_transferred", "success")
    assert entry.detail["stored"] == "2"


def test_an_aborted_association_is_known_as_aborted(running: Running, tmp_path: Path) -> None:
    paths = mr_series(tmp_path, 2)

    storescu(running.port, paths, calling=CALLING, called=CALLED, options=["--abort"])

    assert running.changes.acquire(timeout=10)
    (progress,) = open_studies(running.db)
    assert progress.last_association_end == "aborted"
    wait_until(lambda: not list(running.files.incoming_dir.iterdir()), what="an empty incoming dir")
