"""Each PACS gets what its profile says, as far as it accepts it; what was sent is on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage

from config.settings import DicomDestination, NodeSettings
from fhir.progress import Progress
from node.dispatch import sender_for
from node.errors import PermanentDelivery
from pipelines.objects.encoding import LABEL_MAP_SEGMENTATION_STORAGE
from storage.instance_files import InstanceFiles
from storage.records import ObjectKind
from storage.sent_objects import SentObject, sent_objects
from tests.integration.node_receive.finished_result import finished_of
from tests.peers.dcmtk import IMPLICIT_ONLY, StoreScp
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port
from tests.peers.scp import start_scp
from tests.unit.pipelines_objects.kept_result import Kept, kept_result, read_by_highdicom
from tests.unit.pipelines_objects.synthetic_series import STUDY, classic_series

ANY_SYNTAX = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
)

NATIVE = ANY_SYNTAX[:3]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    folder = tmp_path / "data"
    folder.mkdir()
    return kept_result(folder, classic_series((6, 40, 48)))


def _send(kept: Kept, port: int, ae_title: str, **profile: Any) -> tuple[SentObject, ...]:
    known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 20}
    destination = DicomDestination.model_validate(
        {**known, "port": port, "ae_title": ae_title, **profile}
    )
    sender = sender_for(destination, NodeSettings(), InstanceFiles(kept.folder))
    return sent_objects(sender.send(finished_of(kept), Progress()))


@contextmanager
def _pacs(folder: Path, accepted: Mapping[UID, tuple[UID, ...]]) -> Iterator[int]:
    folder.mkdir()

    def store(event: Any) -> int:
        name = f"{event.request.AffectedSOPInstanceUID}.dcm"
        (folder / name).write_bytes(event.encoded_dataset())
        return 0x0000

    ae = AE(ae_title="PACS")
    for sop_class, syntaxes in accepted.items():
        ae.add_supported_context(sop_class, list(syntaxes))
    port = free_port()
    start_scp(ae, ("127.0.0.1", port), [(evt.EVT_C_STORE, store)])
    yield port
    ae.shutdown()


def _drawn(kept: Kept, path: Path) -> bool:
    return bool(np.array_equal(read_by_highdicom(path, kept.source), kept.labels))


@pytest.mark.peer("orthanc")
def test_orthanc_rejects_a_label_map_and_gets_binary_by_itself(kept: Kept, tmp_path: Path) -> None:
    with Orthanc([Modality("radnode", "RADNODE", free_port())]) as orthanc:
        sent = _send(kept, orthanc.dicom_port, orthanc.aet, segmentation="labelmap")
        taken = {tags["SOPInstanceUID"]: tags["Modality"] for tags in orthanc.instances(STUDY)}

    assert [(item.kind.value, item.encoding) for item in sent] == [("SEG", "BINARY"), ("SR", "")]
    assert taken == {item.sop_instance_uid: item.kind.value for item in sent}


@pytest.mark.parametrize("syntax", ANY_SYNTAX, ids=lambda uid: uid.keyword)
def test_a_pacs_that_knows_label_maps_gets_one(kept: Kept, tmp_path: Path, syntax: UID) -> None:
    accepted = {LABEL_MAP_SEGMENTATION_STORAGE: (syntax,), Comprehensive3DSRStorage: NATIVE}
    wanted = [str(syntax), str(ImplicitVRLittleEndian)]
    with _pacs(tmp_path / "taken", accepted) as port:
        sent = _send(kept, port, "PACS", segmentation="labelmap", transfer_syntaxes=wanted)

    label_map, report = sent
    assert (label_map.encoding, label_map.transfer_syntax_uid) == ("LABELMAP", syntax)
    path = tmp_path / "taken" / f"{label_map.sop_instance_uid}.dcm"
    assert _drawn(kept, path)
    written = dcmread(tmp_path / "taken" / f"{report.sop_instance_uid}.dcm")
    evidence = written.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    named = {str(series.SeriesInstanceUID) for series in evidence}
    assert label_map.series_instance_uid in named


def test_the_order_of_the_profile_decides_among_what_is_accepted(
    kept: Kept, tmp_path: Path
) -> None:
    accepted = {SegmentationStorage: ANY_SYNTAX, Comprehensive3DSRStorage: NATIVE}
    wanted = [str(JPEGLSLossless), str(DeflatedExplicitVRLittleEndian), str(ExplicitVRLittleEndian)]
    with _pacs(tmp_path / "taken", accepted) as port:
        fractional = _send(kept, port, "PACS", segmentation="fractional", transfer_syntaxes=wanted)
        binary = _send(kept, port, "PACS", segmentation="binary", transfer_syntaxes=wanted)

    syntaxes = [[item.transfer_syntax_uid for item in sent] for sent in (fractional, binary)]
    deflated = DeflatedExplicitVRLittleEndian
    assert syntaxes == [[JPEGLSLossless, deflated], [deflated, deflated]]


@pytest.mark.peer("dcmtk")
def test_implicit_alone_is_enough_for_every_form(kept: Kept, tmp_path: Path) -> None:
    with StoreScp(tmp_path / "taken", options=IMPLICIT_ONLY) as scp:
        sent = _send(kept, scp.port, scp.ae_title, segmentation="labelmap", empty_frames="keep")
        taken = {dcmread(path).SOPInstanceUID: path for path in scp.files()}

    assert {item.transfer_syntax_uid for item in sent} == {ImplicitVRLittleEndian}
    assert set(taken) == {item.sop_instance_uid for item in sent}
    segmentation = dcmread(taken[sent[0].sop_instance_uid])
    assert int(segmentation.NumberOfFrames) == 12
    assert _drawn(kept, taken[sent[0].sop_instance_uid])


def test_a_profile_without_reports_sends_none(kept: Kept, tmp_path: Path) -> None:
    with _pacs(tmp_path / "taken", {SegmentationStorage: NATIVE}) as port:
        sent = _send(kept, port, "PACS", objects=["seg"])

    assert [item.kind for item in sent] == [ObjectKind.SEG]


def test_segments_beyond_the_limit_go_in_series_of_their_own(kept: Kept, tmp_path: Path) -> None:
    accepted = {SegmentationStorage: NATIVE, Comprehensive3DSRStorage: NATIVE}
    with _pacs(tmp_path / "taken", accepted) as port:
        sent = _send(kept, port, "PACS", most_segments=1)
        again = _send(kept, port, "PACS", most_segments=1)

    assert [item.kind.value for item in sent] == ["SEG", "SEG", "SR"]
    assert len({item.series_instance_uid for item in sent}) == 3
    assert again == sent
    assert len(list((tmp_path / "taken").iterdir())) == 3


def test_a_pacs_that_takes_no_form_is_told_apart_from_one_that_is_down(
    kept: Kept, tmp_path: Path
) -> None:
    with (
        _pacs(tmp_path / "taken", {Comprehensive3DSRStorage: NATIVE}) as port,
        pytest.raises(
            PermanentDelivery,
            match=r"does not take Label Map Segmentation Storage, Segmentation Storage",
        ),
    ):
        _send(kept, port, "PACS", segmentation="labelmap")

    assert not list((tmp_path / "taken").iterdir())


def test_a_form_that_is_impossible_gives_way_to_the_next_that_is_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    small = kept_result(folder, classic_series((6, 24, 30)))
    jpeg_2000 = UID("1.2.840.10008.1.2.4.90")
    accepted = {
        LABEL_MAP_SEGMENTATION_STORAGE: (jpeg_2000, ExplicitVRLittleEndian),
        Comprehensive3DSRStorage: NATIVE,
    }
    wanted = [str(jpeg_2000), str(ExplicitVRLittleEndian)]
    with _pacs(tmp_path / "taken", accepted) as port:
        sent = _send(small, port, "PACS", segmentation="labelmap", transfer_syntaxes=wanted)

    assert (sent[0].encoding, sent[0].transfer_syntax_uid) == ("LABELMAP", ExplicitVRLittleEndian)
