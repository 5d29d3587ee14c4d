from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import AE, StoragePresentationContexts, evt

from node.demo.archive import Archive
from node.demo.errors import RoutingFailed
from node.demo.grid import SliceGrid
from node.demo.pacs import PacsStandIn
from node.demo.wrap import WrappedStudy, wrap

STUDY = WrappedStudy("pacs test", "DEMO^PACS", "DEMO-9", "A-9", "Hippocampus MR")
SERIES_COUNT, STUDY_INSTANCES, STUDY_SERIES = "0020,1209", "0020,1208", "0020,1206"


def images(count: int = 3) -> list[Dataset]:
    return wrap(SliceGrid(np.zeros((count, 4, 4)), np.eye(4)), STUDY)


def encoded(image: Dataset) -> bytes:
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[PacsStandIn]:
    with PacsStandIn(Archive(tmp_path / "pacs")) as stand_in:
        yield stand_in


def dcmtk(program: str, pacs: PacsStandIn, *arguments: str | Path) -> str:
    done = subprocess.run(
        [program, "-v", "-aec", pacs.ae_title, "127.0.0.1", str(pacs.port), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def find(pacs: PacsStandIn, folder: Path, *keys: str) -> list[Dataset]:
    folder.mkdir()
    arguments = [part for key in keys for part in ("-k", key)]
    dcmtk("findscu", pacs, "-S", "-X", "-od", folder, *arguments)
    return [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


@pytest.mark.peer("dcmtk")
def test_it_answers_echo(pacs: PacsStandIn) -> None:
    assert "Success" in dcmtk("echoscu", pacs)


@pytest.mark.peer("dcmtk")
def test_what_storescu_sends_is_kept_and_found_with_counts(
    pacs: PacsStandIn, tmp_path: Path
) -> None:
    sent = tmp_path / "sent"
    sent.mkdir()
    for number, image in enumerate(images()):
        (sent / f"{number}.dcm").write_bytes(encoded(image))
    dcmtk("storescu", pacs, "+sd", sent)

    study = find(
        pacs,
        tmp_path / "study",
        "QueryRetrieveLevel=STUDY",
        f"StudyInstanceUID={STUDY.study_instance_uid}",
        STUDY_INSTANCES,
        STUDY_SERIES,
    )
    series = find(
        pacs,
        tmp_path / "series",
        "QueryRetrieveLevel=SERIES",
        f"StudyInstanceUID={STUDY.study_instance_uid}",
        "SeriesInstanceUID",
        SERIES_COUNT,
        "Modality",
    )

    assert [answer.NumberOfStudyRelatedInstances for answer in study] == [3]
    assert [answer.NumberOfStudyRelatedSeries for answer in study] == [1]
    assert [answer.NumberOfSeriesRelatedInstances for answer in series] == [3]
    assert [answer.Modality for answer in series] == ["MR"]
    assert pacs.received(STUDY.study_instance_uid) == 3


@pytest.mark.peer("dcmtk")
def test_a_study_it_does_not_hold_is_not_found(pacs: PacsStandIn, tmp_path: Path) -> None:
    pacs.archive.keep(encoded(images(1)[0]))

    answers = find(pacs, tmp_path / "found", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3.4")

    assert answers == []


def test_the_same_instance_again_is_counted_but_not_held_twice(pacs: PacsStandIn) -> None:
    with PacsStandIn(Archive(pacs.archive.folder / "second")) as receiver:
        pacs.archive.keep(encoded(images(1)[0]))
        for _ in range(2):
            pacs.route(STUDY.study_instance_uid, receiver.port, receiver.ae_title)

        assert receiver.received(STUDY.study_instance_uid) == 2
        assert len(receiver.archive.instances(STUDY.study_instance_uid)) == 1


def test_a_routed_object_arrives_as_it_was_held(pacs: PacsStandIn) -> None:
    with PacsStandIn(Archive(pacs.archive.folder / "second")) as receiver:
        for image in images():
            pacs.archive.keep(encoded(image))
        count = pacs.route(STUDY.study_instance_uid, receiver.port, receiver.ae_title)

        arrived = receiver.archive.instances(STUDY.study_instance_uid)
        assert count == len(arrived) == 3
        assert [dcmread(held.path) for held in arrived] == [
            dcmread(BytesIO(encoded(image))) for image in images()
        ]


def test_a_node_that_refuses_an_object_is_reported(pacs: PacsStandIn) -> None:
    node = AE("FULL_NODE")
    node.supported_contexts = StoragePresentationContexts
    full = node.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: 0xA700)]
    )
    pacs.archive.keep(encoded(images(1)[0]))
    try:
        with pytest.raises(RoutingFailed, match="0xA700"):
            pacs.route(STUDY.study_instance_uid, full.socket.getsockname()[1], "FULL_NODE")
    finally:
        full.shutdown()


def test_it_asks_a_node_by_echo_whether_it_is_there(pacs: PacsStandIn) -> None:
    port = pacs.port

    assert pacs.echo(port, pacs.ae_title)
    pacs.stop()
    assert not pacs.echo(port, pacs.ae_title)


def test_a_node_that_is_not_there_is_reported(pacs: PacsStandIn) -> None:
    port = pacs.port
    pacs.archive.keep(encoded(images(1)[0]))
    pacs.stop()

    with pytest.raises(RoutingFailed, match="did not accept"):
        pacs.route(STUDY.study_instance_uid, port, "NOBODY")


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["../../escape", "1.2.3/4", "", "1..2"])
def test_a_uid_that_is_none_never_becomes_a_path(tmp_path: Path, uid: str) -> None:
    image = images(1)[0]
    image.StudyInstanceUID = uid
    archive = Archive(tmp_path / "pacs")

    with pytest.raises((ValueError, AttributeError)):
        archive.keep(encoded(image))

    assert list(tmp_path.rglob("*.dcm")) == []


def test_content_that_is_no_dicom_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(InvalidDicomError):
        Archive(tmp_path / "pacs").keep(b"not DICOM at all")

    assert list(tmp_path.rglob("*.dcm")) == []
