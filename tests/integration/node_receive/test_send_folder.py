from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, JPEG2000Lossless, RLELossless

from node.errors import TransientDelivery
from node.send import send_folder
from storage.instances import instances_of_series
from tests.integration.node_receive.mr_study import (
    ROOT,
    SERIES,
    dataset_bytes,
    mr_instance,
    mr_series,
    write,
)
from tests.integration.node_receive.running_listener import CALLED, CALLING, Running
from tests.integration.node_receive.sender import encoded, raw_file
from tests.peers.dcmtk import IMPLICIT_ONLY, StoreScp
from tests.peers.ports import free_port


def test_a_folder_arrives_whole_and_what_is_not_dicom_is_listed(
    running: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    sent = mr_series(folder / "a", 3)
    ct = mr_instance(7, series=f"{ROOT}.1.2")
    ct.SOPClassUID = CTImageStorage
    write(ct, folder / "b" / "deep")
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.dcm").touch()

    report = send_folder(folder, "127.0.0.1", running.port, CALLED, CALLING)

    assert report.stored == 4
    assert report.failed == ()
    assert {path.name for path in report.skipped} == {"notes.txt", "empty.dcm"}
    kept = [running.files.absolute(r.path) for r in instances_of_series(running.db, SERIES)]
    assert [dataset_bytes(path) for path in kept] == [dataset_bytes(path) for path in sent]


@pytest.mark.parametrize("transfer_syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_files_go_compressed(
    running: Running, tmp_path: Path, transfer_syntax: str
) -> None:
    dataset = mr_instance(side=64)
    dataset.compress(transfer_syntax)
    path = write(dataset, tmp_path / "study")

    report = send_folder(path.parent, "127.0.0.1", running.port, CALLED, CALLING)

    assert report.stored == 1
    (record,) = instances_of_series(running.db, SERIES)
    assert record.transfer_syntax_uid == transfer_syntax
    assert dataset_bytes(running.files.absolute(record.path)) == dataset_bytes(path)


def test_the_data_set_counts_where_the_file_meta_information_differs(
    running: Running, tmp_path: Path
) -> None:
    content = encoded(mr_instance())
    raw_file(tmp_path / "a.dcm", content, sop_instance_uid=f"{SERIES}.777")

    report = send_folder(tmp_path, "127.0.0.1", running.port, CALLED, CALLING)

    assert report.stored == 1
    (record,) = instances_of_series(running.db, SERIES)
    assert record.sop_instance_uid == f"{SERIES}.1"


@pytest.mark.peer("dcmtk")
def test_only_what_can_be_re_encoded_goes_to_an_implicit_only_receiver(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    plain = write(mr_instance(1), folder)
    compressed = mr_instance(2)
    compressed.compress(RLELossless)
    write(compressed, folder)

    with StoreScp(tmp_path / "taken", options=IMPLICIT_ONLY) as scp:
        report = send_folder(folder, "127.0.0.1", scp.port, scp.ae_title, "TESTER")
        (taken,) = scp.files()

        assert dcmread(taken).PixelData == dcmread(plain).PixelData

    assert report.stored == 1
    (failed,) = report.failed
    assert "RLE" in failed.reason


@pytest.mark.peer("dcmtk")
def test_a_receiver_that_accepts_nothing_is_told_file_by_file(tmp_path: Path) -> None:
    compressed = mr_instance()
    compressed.compress(RLELossless)
    write(compressed, tmp_path / "study")

    with StoreScp(tmp_path / "taken", options=IMPLICIT_ONLY) as scp:
        report = send_folder(tmp_path / "study", "127.0.0.1", scp.port, scp.ae_title, "TESTER")

    assert report.stored == 0
    assert "was not accepted" in report.failed[0].reason


def test_the_status_of_each_file_is_told(running: Running, tmp_path: Path) -> None:
    write(mr_instance(1), tmp_path / "a")
    other = mr_instance(2)
    other.PatientID = "P2"
    write(other, tmp_path / "b")

    report = send_folder(tmp_path, "127.0.0.1", running.port, CALLED, CALLING)

    assert [file.status for file in report.files] == [0x0000, 0xB000]
    assert (report.stored, report.failed) == (1, ())
    assert [file.status for file in report.warned] == [0xB000]  # it is safe in quarantine


def test_a_folder_without_dicom_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    report = send_folder(tmp_path, "127.0.0.1", free_port(), CALLED, CALLING)

    assert report.files == ()
    assert [path.name for path in report.skipped] == ["notes.txt"]


def test_a_listener_that_does_not_know_us_is_told_so(running: Running, tmp_path: Path) -> None:
    write(mr_instance(), tmp_path)

    with pytest.raises(TransientDelivery, match="does it know the AE title STRANGER"):
        send_folder(tmp_path, "127.0.0.1", running.port, CALLED, "STRANGER")


def test_nobody_there_is_told_so(tmp_path: Path) -> None:
    write(mr_instance(), tmp_path)

    with pytest.raises(TransientDelivery, match="is down, or does not answer"):
        send_folder(tmp_path, "127.0.0.1", free_port(), CALLED, CALLING)
