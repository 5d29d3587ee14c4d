"""A PACS that takes no Secondary Capture gets the report, without the heat maps that it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from node.errors import FormRefused
from pipelines.objects.proof_report import prove_report
from storage.sent_objects import LEFT_OUT_KEY, sent_objects
from tests.integration.node_receive.choosy_pacs import choosy_pacs, receipt_of
from tests.peers.dicom_checkers import dciodvfy, dsrdump
from tests.unit.fhir.finished_jobs import classified
from tests.unit.pipelines_objects.kept_explanation import kept_explanation
from tests.unit.pipelines_objects.kept_result import Kept

SR, SC = Comprehensive3DSRStorage, SecondaryCaptureImageStorage

pytestmark = pytest.mark.peer("dcmtk", "dicom3tools")


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    folder = tmp_path / "data"
    folder.mkdir()
    return kept_explanation(folder)


def _evidence(report: Dataset) -> set[str]:
    return {
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


@pytest.mark.parametrize("more", [[], [DeflatedExplicitVRLittleEndian]], ids=["plain", "deflated"])
def test_the_report_goes_alone_and_names_no_picture(
    kept: Kept, tmp_path: Path, more: list[UID]
) -> None:
    syntaxes = [str(syntax) for syntax in (*more, ExplicitVRLittleEndian)]
    with choosy_pacs(tmp_path, SR) as scp:
        receipt = receipt_of(kept, scp, transfer_syntaxes=syntaxes)
        again = receipt_of(kept, scp, transfer_syntaxes=syntaxes)
        (path,) = scp.files()
        report = dcmread(path)
        assert dciodvfy(path) == dciodvfy(kept.folder / "sr.dcm")
        assert dsrdump(path)[1] == ()
        prove_report(path, kept.source, classified().measurements, None)

    before, heat = (dcmread(kept.folder / name) for name in ("sr.dcm", "heat-01.dcm"))
    (sent,) = sent_objects(receipt)
    assert receipt == again
    assert report.SOPInstanceUID == sent.sop_instance_uid != before.SOPInstanceUID
    assert heat.SOPInstanceUID not in str(report)
    assert _evidence(report) == _evidence(before) - {heat.SOPInstanceUID}
    assert receipt[LEFT_OUT_KEY].startswith("HEAT: ")
    assert "Secondary Capture" in receipt[LEFT_OUT_KEY]


def test_both_go_where_both_are_taken(kept: Kept, tmp_path: Path) -> None:
    with choosy_pacs(tmp_path, SR, SC) as scp:
        receipt = receipt_of(kept, scp)
        taken = {str(dcmread(path).SOPInstanceUID) for path in scp.files()}
    kinds = [item.kind.name for item in sent_objects(receipt)]
    assert sorted(kinds) == ["HEAT", "SR"]
    assert taken == {str(dcmread(path).SOPInstanceUID) for path in kept.folder.glob("*.dcm")}
    assert LEFT_OUT_KEY not in receipt


def test_a_pacs_that_takes_no_report_either_has_a_dead_letter(kept: Kept, tmp_path: Path) -> None:
    with choosy_pacs(tmp_path, SC) as scp:
        with pytest.raises(FormRefused, match="Comprehensive 3D SR"):
            receipt_of(kept, scp)
        assert scp.files() == []
