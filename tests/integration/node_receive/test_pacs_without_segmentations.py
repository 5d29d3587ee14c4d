"""A PACS that takes no segmentation gets pictures, pages and a report that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from node.errors import FormRefused, PermanentDelivery
from storage.sent_objects import FALLBACK_KEY, SentObject, sent_objects
from tests.integration.node_receive.choosy_pacs import choosy_pacs, receipt_of
from tests.integration.node_receive.kept_pages import kept_with_pages
from tests.unit.pipelines_objects.kept_result import Kept

SR, SC, PDF = Comprehensive3DSRStorage, SecondaryCaptureImageStorage, EncapsulatedPDFStorage

pytestmark = pytest.mark.peer("dcmtk")


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    folder = tmp_path / "data"
    folder.mkdir()
    return kept_with_pages(folder)


def _kinds(sent: Sequence[SentObject]) -> list[str]:
    return [item.kind.name for item in sent]


@pytest.mark.parametrize("segmentation", ["auto", "labelmap", "binary"])
def test_all_but_the_segmentation_arrives_and_the_reason_is_on_record(
    kept: Kept, tmp_path: Path, segmentation: str
) -> None:
    with choosy_pacs(tmp_path, SR, SC, PDF) as scp:
        receipt = receipt_of(kept, scp, segmentation=segmentation)
        taken = {str(dcmread(path).SOPInstanceUID): dcmread(path) for path in scp.files()}

    sent = sent_objects(receipt)
    assert sorted(_kinds(sent)) == ["PDF", "SC", "SR"]
    assert set(taken) == {item.sop_instance_uid for item in sent}
    assert "does not take" in receipt[FALLBACK_KEY]
    assert "Segmentation Storage" in receipt[FALLBACK_KEY]
    segmentation_uid = str(dcmread(kept.folder / "seg.dcm").SOPInstanceUID)
    assert not [uid for uid, instance in taken.items() if segmentation_uid in str(instance)]


@pytest.mark.parametrize(
    ("accepted", "kinds"),
    [((SC,), ["SC"]), ((PDF,), ["PDF"]), ((SR, SC), ["SR", "SC"]), ((SR,), ["SR"])],
    ids=["SC", "PDF", "SR_SC", "SR"],
)
def test_each_goes_where_it_is_accepted(
    kept: Kept, tmp_path: Path, accepted: tuple[UID, ...], kinds: list[str]
) -> None:
    with choosy_pacs(tmp_path, *accepted) as scp:
        sent = sent_objects(receipt_of(kept, scp))
        files = len(scp.files())
    assert (sorted(_kinds(sent)), files) == (sorted(kinds), len(kinds))


def test_a_profile_with_deflated_objects_falls_back_as_well(kept: Kept, tmp_path: Path) -> None:
    syntaxes = [
        str(syntax)
        for syntax in (
            DeflatedExplicitVRLittleEndian,
            ExplicitVRLittleEndian,
            ImplicitVRLittleEndian,
        )
    ]
    with choosy_pacs(tmp_path, SR, SC) as scp:
        sent = sent_objects(receipt_of(kept, scp, transfer_syntaxes=syntaxes))
    assert sorted(_kinds(sent)) == ["SC", "SR"]
    assert {item.transfer_syntax_uid for item in sent} == {ExplicitVRLittleEndian}


def test_a_site_that_wants_none_of_it_has_a_dead_letter(kept: Kept, tmp_path: Path) -> None:
    with choosy_pacs(tmp_path, SR, SC, PDF) as scp:
        with pytest.raises(FormRefused, match="Segmentation Storage"):
            receipt_of(kept, scp, fallback=[])
        assert scp.files() == []


def test_a_pacs_that_takes_nothing_of_ours_has_a_dead_letter(kept: Kept, tmp_path: Path) -> None:
    ct = UID("1.2.840.10008.5.1.4.1.1.2")
    with (
        choosy_pacs(tmp_path, ct) as scp,
        pytest.raises(PermanentDelivery, match="Segmentation Storage"),
    ):
        receipt_of(kept, scp)


def test_a_report_that_is_refused_beside_a_segmentation_is_no_reason_to_fall_back(
    kept: Kept, tmp_path: Path
) -> None:
    with choosy_pacs(tmp_path, SegmentationStorage, SC, PDF) as scp:
        with pytest.raises(FormRefused, match="Comprehensive 3D SR"):
            receipt_of(kept, scp)
        assert scp.files() == []


def test_a_result_without_findings_has_its_pages_where_no_report_is_taken(
    kept: Kept, tmp_path: Path
) -> None:
    (kept.folder / "seg.dcm").unlink()
    with choosy_pacs(tmp_path, SC, PDF) as scp:
        sent = sent_objects(receipt_of(kept, scp))
    assert sorted(_kinds(sent)) == ["PDF", "SC"]


def test_a_profile_of_reports_alone_gets_one_that_refers_to_no_segmentation(
    kept: Kept, tmp_path: Path
) -> None:
    with choosy_pacs(tmp_path, SR) as scp:
        receipt = receipt_of(kept, scp, objects=["sr"])
        (path,) = scp.files()
        report = dcmread(path)

    assert FALLBACK_KEY not in receipt
    assert str(dcmread(kept.folder / "seg.dcm").SOPInstanceUID) not in str(report)
    assert str(dcmread(kept.folder / "sr.dcm").SOPInstanceUID) != str(report.SOPInstanceUID)
