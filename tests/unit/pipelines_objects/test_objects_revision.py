"""Rejection notes and revisions: what they name, what they leave alone, and that they repeat."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.compose import compose
from pipelines.objects.composing import NoteRequest, Rejected, RevisionRequest
from pipelines.objects.rejection_note import build_rejection_note, prove_rejection_note
from pipelines.objects.revision import Predecessor, Revision, prove_revision, revised
from tests.unit.pipelines_objects.kept_result import Kept, kept_result, read_by_highdicom
from tests.unit.pipelines_objects.synthetic_series import classic_series

AT = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
OLDER = Predecessor("1.2.840.10008.5.1.4.1.1.88.34", "2.25.77", "2.25.78")
SEG = Rejected("1.2.840.10008.5.1.4.1.1.66.4", "2.25.1", "2.25.2", is_image=True)
SR = Rejected("1.2.840.10008.5.1.4.1.1.88.34", "2.25.3", "2.25.4", is_image=False)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return kept_result(tmp_path, classic_series((6, 40, 48)))


def made_by_process(request: Any, out: Path) -> list[Dataset]:
    out.mkdir()
    command = [sys.executable, "-m", "pipelines.objects.compose"]
    done = subprocess.run(
        command, input=request.to_json(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [dcmread(out / item["path"]) for item in json.loads(done.stdout)["objects"]]


def both(kept: Kept) -> list[Dataset]:
    return [dcmread(kept.folder / "seg.dcm"), dcmread(kept.folder / "sr.dcm")]


@pytest.mark.parametrize(
    ("title", "code"), [("quality", "113001"), ("retention_expired", "113039")]
)
def test_a_note_names_what_is_rejected_under_its_title(
    kept: Kept, title: str, code: str, tmp_path: Path
) -> None:
    request = NoteRequest(kept.folder / "sr.dcm", (SEG, SR), title, AT, tmp_path / "out")
    (note,) = made_by_process(request, tmp_path / "out")

    report = dcmread(kept.folder / "sr.dcm")
    assert note.ConceptNameCodeSequence[0].CodeValue == code
    assert (note.Modality, note.SOPClassUID) == ("KO", "1.2.840.10008.5.1.4.1.1.88.59")
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
        assert note[keyword].value == report[keyword].value
    assert note.SeriesInstanceUID not in (report.SeriesInstanceUID, "2.25.2", "2.25.4")
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    found = {
        (series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert found == {("2.25.2", "2.25.1"), ("2.25.4", "2.25.3")}
    kinds = [item.ValueType for item in note.ContentSequence if "ReferencedSOPSequence" in item]
    assert kinds == ["IMAGE", "COMPOSITE"]


def test_a_note_made_twice_is_the_same_and_one_on_other_objects_another(
    kept: Kept, tmp_path: Path
) -> None:
    header = dcmread(kept.folder / "sr.dcm")
    request = NoteRequest(kept.folder / "sr.dcm", (SEG, SR), "quality", AT, tmp_path)
    other = replace(request, rejected=(SR,))
    assert build_rejection_note(request, header) == build_rejection_note(request, header)
    uids = {build_rejection_note(each, header).SOPInstanceUID for each in (request, other)}
    assert len(uids) == 2
    with pytest.raises(ProofFailed):
        prove_rejection_note(build_rejection_note(other, header), request)


def test_a_note_that_names_nothing_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        NoteRequest(tmp_path, (), "quality", AT, tmp_path)


def test_a_new_round_gives_new_uids_and_keeps_every_voxel_and_reference(
    kept: Kept, tmp_path: Path
) -> None:
    paths = kept.folder / "seg.dcm", kept.folder / "sr.dcm"
    out = tmp_path / "out"
    segmentation, report = made_by_process(RevisionRequest(paths, Revision(1), out), out)

    before = both(kept)
    assert segmentation.SOPInstanceUID != before[0].SOPInstanceUID
    assert segmentation.SeriesInstanceUID != before[0].SeriesInstanceUID
    assert (read_by_highdicom(out / "0.dcm", kept.source) == kept.labels).all()
    named = {
        str(element.value)
        for element in report.iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    }
    assert str(segmentation.SOPInstanceUID) in named
    assert str(before[0].SOPInstanceUID) not in named
    assert segmentation.StudyInstanceUID == before[0].StudyInstanceUID


def test_a_report_with_a_predecessor_is_another_document_and_the_segmentation_stays(
    kept: Kept,
) -> None:
    kept_seg, kept_report = both(kept)
    segmentation, report = revised([kept_seg, kept_report], Revision(predecessors=(OLDER,)))
    assert segmentation is kept_seg
    assert report.SOPInstanceUID != kept_report.SOPInstanceUID
    assert report.file_meta.MediaStorageSOPInstanceUID == report.SOPInstanceUID
    assert report.ContentSequence == kept_report.ContentSequence
    (study,) = report.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == report.StudyInstanceUID
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "2.25.78"
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.77"


def test_the_same_revision_has_the_same_uids_and_another_has_others(kept: Kept) -> None:
    revisions = [
        Revision(1),
        Revision(2),
        Revision(attributes=(("PatientID", "NEW"),)),
        Revision(attributes=(("PatientID", "NEWER"),)),
        Revision(1, (("PatientID", "NEW"),)),
    ]
    uids = [[revised(both(kept), each)[0].SOPInstanceUID for _ in range(2)] for each in revisions]
    assert all(first == second for first, second in uids)
    assert len({first for first, _ in uids}) == len(revisions)


@pytest.mark.parametrize("fault", ["PixelData", "PatientID", "SegmentLabel", "Modality gone"])
def test_the_proof_of_a_revision_notices_what_should_not_differ(kept: Kept, fault: str) -> None:
    before, _ = both(kept)
    (after,) = revised([before], Revision(1))
    prove_revision(before, after, Revision(1))
    before, _ = both(kept)
    match fault:
        case "PixelData":
            after.PixelData = bytes(len(after.PixelData))
        case "PatientID":
            after.PatientID = "OTHER"
        case "SegmentLabel":
            after.SegmentSequence[0].SegmentLabel = "other"
        case _:
            del after.Modality
    with pytest.raises(ProofFailed):
        prove_revision(before, after, Revision(1))


def test_an_act_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="no act"):
        compose({"act": "burn"})
