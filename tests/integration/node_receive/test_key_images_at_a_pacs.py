"""Key images and their outlines go beside a result, and never hold it up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt

from config.settings import DicomDestination, NodeSettings
from fhir.progress import Progress
from node.dispatch import sender_for
from node.errors import FormRefused, TransientDelivery
from storage.instance_files import InstanceFiles
from storage.sent_objects import (
    FALLBACK_KEY,
    LEFT_OUT_KEY,
    REJECTED_KEY,
    SentObject,
    arrived_objects,
    sent_objects,
    told,
)
from tests.integration.node_receive.finished_result import finished_of
from tests.integration.node_receive.kept_pages import kept_with_key_images
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port
from tests.peers.scp import start_scp
from tests.unit.pipelines_objects.kept_explanation import kept_explanation
from tests.unit.pipelines_objects.kept_result import Kept
from tests.unit.pipelines_objects.synthetic_series import STUDY

SEG, SR = SegmentationStorage, Comprehensive3DSRStorage
SC = SecondaryCaptureImageStorage
KOS, PR = KeyObjectSelectionDocumentStorage, GrayscaleSoftcopyPresentationStateStorage
ALL = ("seg", "sr", "kos", "pr")
ANY = (DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept_with_key_images(tmp_path_factory.mktemp("data"))


@dataclass
class Pacs:
    """Takes some SOP Classes, and answers those in `statuses` as they say."""

    sop_classes: tuple[UID, ...] = (SEG, SR, KOS, PR)
    statuses: Mapping[str, int] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    came: list[str] = field(default_factory=list)
    taken: list[Dataset] = field(default_factory=list)

    def store(self, event: Any) -> int:
        status = self.statuses.get(event.request.AffectedSOPClassUID, 0)
        self.came.append(str(event.dataset.Modality))
        if not status:
            self.taken.append(event.dataset)
        return status

    def kinds(self) -> list[str]:
        return [str(item.Modality) for item in self.taken]


@contextmanager
def running(pacs: Pacs) -> Iterator[Pacs]:
    ae = AE(ae_title="PACS")
    for sop_class in pacs.sop_classes:
        ae.add_supported_context(sop_class, list(ANY))
    handlers = [(evt.EVT_C_STORE, pacs.store)]
    start_scp(ae, ("127.0.0.1", pacs.port), handlers)
    yield pacs
    ae.shutdown()


def delivered(
    kept: Kept,
    port: int,
    ae_title: str = "PACS",
    receipt: Mapping[str, str] | None = None,
    **profile: Any,
) -> Mapping[str, str]:
    known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 20}
    destination = DicomDestination.model_validate(
        {**known, "port": port, "ae_title": ae_title, "objects": ALL, **profile}
    )
    sender = sender_for(destination, NodeSettings(), InstanceFiles(kept.folder))
    return sender.send(finished_of(kept), Progress(receipt or {}))


def names(sent: tuple[SentObject, ...]) -> list[str]:
    return sorted(item.kind.name for item in sent)


@pytest.mark.peer("orthanc")
def test_orthanc_keeps_all_four_as_they_were_made(kept: Kept) -> None:
    with Orthanc([Modality("radnode", "RADNODE", free_port())]) as orthanc:
        receipt = delivered(kept, orthanc.dicom_port, orthanc.aet)
        found = {tags["Modality"]: tags for tags in orthanc.instances(STUDY)}

    assert names(sent_objects(receipt)) == ["KOS", "PR", "SEG", "SR"]
    assert LEFT_OUT_KEY not in receipt
    assert sorted(found) == ["KO", "PR", "SEG", "SR"]
    for name, modality in (("key_objects.dcm", "KO"), ("presentation.dcm", "PR")):
        made = dcmread(kept.folder / name)
        assert found[modality]["SOPInstanceUID"] == made.SOPInstanceUID
        assert found[modality]["SeriesDescription"] == made.SeriesDescription


def test_they_go_last_and_only_where_the_profile_has_them(kept: Kept) -> None:
    with running(Pacs()) as pacs:
        delivered(kept, pacs.port)
        assert pacs.kinds()[:2] == ["SEG", "SR"]
        assert sorted(pacs.kinds()[2:]) == ["KO", "PR"]
        delivered(kept, pacs.port, objects=["seg", "sr"])
    assert pacs.kinds()[4:] == ["SEG", "SR"]


@pytest.mark.parametrize("syntaxes", [ANY[1:], ANY], ids=["plain", "negotiated"])
@pytest.mark.parametrize(
    ("accepted", "kinds", "left_out"),
    [
        ((SEG, SR), ["SEG", "SR"], ["KOS", "PR"]),
        ((SEG, SR, KOS), ["KOS", "SEG", "SR"], ["PR"]),
        ((SEG, SR, PR), ["PR", "SEG", "SR"], ["KOS"]),
    ],
    ids=["neither", "no PR", "no KOS"],
)
def test_a_pacs_that_does_not_know_them_gets_the_result(
    kept: Kept,
    syntaxes: tuple[UID, ...],
    accepted: tuple[UID, ...],
    kinds: list[str],
    left_out: list[str],
) -> None:
    with running(Pacs(accepted)) as pacs:
        receipt = delivered(kept, pacs.port, transfer_syntaxes=list(map(str, syntaxes)))
    assert names(sent_objects(receipt)) == kinds
    assert len(pacs.taken) == len(kinds)
    assert "does not take" in receipt[LEFT_OUT_KEY]
    assert [kind for kind in ("KOS", "PR") if f"{kind}: " in receipt[LEFT_OUT_KEY]] == left_out


@pytest.mark.parametrize("status", [0x0122, 0xA900, 0xC123])
def test_a_pacs_that_refuses_them_when_they_come_gets_the_result(kept: Kept, status: int) -> None:
    with running(Pacs(statuses={PR: status, KOS: status})) as pacs:
        receipt = delivered(kept, pacs.port)
    assert pacs.kinds() == ["SEG", "SR"]
    assert names(sent_objects(receipt)) == ["SEG", "SR"]
    assert f"0x{status:04X}" in receipt[LEFT_OUT_KEY]


def test_a_pacs_that_is_busy_gets_them_later(kept: Kept) -> None:
    with running(Pacs(statuses={PR: 0xA700})) as pacs:
        with pytest.raises(TransientDelivery):
            delivered(kept, pacs.port)
        assert pacs.came[:2] == ["SEG", "SR"]


def test_heat_maps_that_are_refused_when_they_come_leave_a_report_without_them(
    tmp_path: Path,
) -> None:
    explained = kept_explanation(tmp_path)
    with running(Pacs((SR, SC), statuses={SC: 0x0122})) as pacs:
        receipt = delivered(explained, pacs.port)
    (report,) = pacs.taken
    assert pacs.came == ["OT", "SR"]
    assert dcmread(tmp_path / "heat-01.dcm").SOPInstanceUID not in str(report)
    assert names(sent_objects(receipt)) == ["SR"]
    assert receipt[LEFT_OUT_KEY].startswith("HEAT: ")


def test_a_destination_of_key_images_alone_has_to_take_them(kept: Kept) -> None:
    with running(Pacs((SEG, SR))) as pacs, pytest.raises(FormRefused, match="Key Object"):
        delivered(kept, pacs.port, objects=["kos"])


def test_outlines_stand_in_for_a_segmentation_where_the_site_wants_that(kept: Kept) -> None:
    with running(Pacs((SR, PR, KOS))) as pacs:
        receipt = delivered(kept, pacs.port, fallback=["pr"])
    assert names(sent_objects(receipt)) == ["KOS", "PR", "SR"]
    assert "Segmentation Storage" in receipt[FALLBACK_KEY]


def test_key_images_alone_are_no_result(kept: Kept) -> None:
    with running(Pacs((KOS,))) as pacs, pytest.raises(FormRefused, match="Segmentation"):
        delivered(kept, pacs.port, fallback=["pr", "kos"])
    assert pacs.taken == []


def test_what_was_taken_back_comes_again_under_other_uids_and_as_what_it_is(kept: Kept) -> None:
    with running(Pacs()) as pacs:
        first = delivered(kept, pacs.port)
        again = delivered(kept, pacs.port, receipt={REJECTED_KEY: told(sent_objects(first))})
    before, after = (
        {item.kind.name: item.sop_instance_uid for item in arrived_objects(receipt)}
        for receipt in (first, again)
    )
    assert before.keys() == after.keys() == {"SEG", "SR", "KOS", "PR"}
    assert set(before.values()).isdisjoint(after.values())


def test_a_rejection_note_names_them_too(kept: Kept) -> None:
    known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "ae_title": "PACS"}
    with running(Pacs()) as pacs:
        receipt = delivered(kept, pacs.port)
        destination = DicomDestination.model_validate(
            {**known, "port": pacs.port, "superseded": "rejection_note"}
        )
        sender = sender_for(destination, NodeSettings(), InstanceFiles(kept.folder))
        gone = replace(finished_of(kept), withdrawn_at=datetime(2026, 5, 6, tzinfo=UTC))
        sender.send(gone, Progress(receipt))
    note = pacs.taken[-1]
    named = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID: item.ValueType
        for item in note.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    sent = {str(item.SOPInstanceUID): str(item.Modality) for item in pacs.taken[:-1]}
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert named.keys() == sent.keys()
    is_image = {"SEG": "IMAGE", "SR": "COMPOSITE", "KO": "COMPOSITE", "PR": "COMPOSITE"}
    assert named == {uid: is_image[modality] for uid, modality in sent.items()}
