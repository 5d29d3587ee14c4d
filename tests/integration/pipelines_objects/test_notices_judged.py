"""Rejection notes and reports with predecessors before independent judges."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.objects.compose import compose
from pipelines.objects.composing import NoteRequest, OutcomeRequest, Rejected, RevisionRequest
from pipelines.objects.revision import Predecessor, Revision
from tests.peers.dicom_checkers import dcentvfy, dciodvfy, dsrdump, tid1500reader
from tests.peers.pixelmed_checker import pixelmed
from tests.unit.pipelines_objects.kept_result import Kept, kept_result
from tests.unit.pipelines_objects.synthetic_series import classic_series

AT = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)


def bare(header: Dataset, index: int) -> None:
    """As little as an anonymised series holds."""
    for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime"):
        delattr(header, keyword)


def japanese(header: Dataset, index: int) -> None:
    header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    header.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    header.StudyDescription = "head"
    header.ReferringPhysicianName = ""


@pytest.fixture(params=[None, bare, japanese], ids=["full", "bare", "japanese"])
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Kept:
    return kept_result(tmp_path, classic_series((4, 40, 48), edit=request.param))


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("title", ["quality", "retention_expired"])
def test_a_rejection_note_is_without_fault(kept: Kept, title: str, tmp_path: Path) -> None:
    request = NoteRequest(kept.folder / "sr.dcm", _rejected(kept), title, AT, tmp_path)
    (note,) = compose(_plain(request))
    path = tmp_path / note.path
    assert dciodvfy(path) == ()
    assert dsrdump(path)[1] == ()
    assert dcentvfy([path, kept.folder / "seg.dcm", kept.folder / "sr.dcm"]) == ()


@pytest.mark.peer("dicom3tools")
def test_a_revised_result_is_without_fault(kept: Kept, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    older = Predecessor("1.2.840.10008.5.1.4.1.1.88.34", "2.25.77", "2.25.78")
    attributes = (("PatientID", "NEW"), ("AccessionNumber", "A2"))
    request = RevisionRequest(
        (kept.folder / "seg.dcm", kept.folder / "sr.dcm"), Revision(1, attributes, (older,)), out
    )
    paths = [out / made.path for made in compose(_plain(request))]
    assert [dciodvfy(path) for path in paths] == [(), ()]
    assert dsrdump(paths[1])[1] == ()
    assert dcentvfy(paths) == ()
    assert len(tid1500reader(paths[1], tmp_path)["Measurements"]) == 2


@pytest.mark.peer("pixelmed")
def test_pixelmed_has_nothing_to_say_about_a_note_and_a_report_without_a_result(
    tmp_path: Path,
) -> None:
    kept = kept_result(tmp_path, classic_series((4, 40, 48)))
    for name in ("note", "told", "revised"):
        (tmp_path / name).mkdir()
    note = NoteRequest(kept.folder / "sr.dcm", _rejected(kept), "quality", AT, tmp_path / "note")
    outcome = _outcome(kept, tmp_path / "told")
    older = Predecessor("1.2.840.10008.5.1.4.1.1.88.34", "2.25.77", "2.25.78")
    newer = RevisionRequest(
        (kept.folder / "sr.dcm",), Revision(predecessors=(older,)), tmp_path / "revised"
    )
    paths = [
        request.out_dir / made.path
        for request in (note, outcome, newer)
        for made in compose(_plain(request))
    ]
    assert pixelmed(paths) == dict.fromkeys(paths, ())


def _rejected(kept: Kept) -> tuple[Rejected, ...]:
    objects = [dcmread(kept.folder / name) for name in ("seg.dcm", "sr.dcm")]
    return tuple(
        Rejected(
            str(item.SOPClassUID),
            str(item.SOPInstanceUID),
            str(item.SeriesInstanceUID),
            is_image=item.Modality == "SEG",
        )
        for item in objects
    )


def _outcome(
    kept: Kept,
    out_dir: Path,
    algorithm: tuple[str, str] | None = None,
    images: tuple[Path, ...] = (),
) -> OutcomeRequest:
    return OutcomeRequest(
        images=(*images, *sorted((kept.folder / "images").iterdir())),
        role="role",
        text="No AI result: not processed (missing_slices: 2 are missing).",
        series_description="not processed",
        algorithm=algorithm,
        device_uid="2.25.7" if algorithm else "",
        node_name="radnode",
        ae_title="RADNODE",
        institution_name="",
        software_version="1",
        content_time=AT,
        out_dir=out_dir,
    )


def _plain(request: NoteRequest | OutcomeRequest | RevisionRequest) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(request.to_json())
    return known


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("algorithm", [("Brain", "1.0"), None], ids=["model", "no pipeline"])
def test_a_report_on_work_without_a_result_is_without_fault(
    kept: Kept, algorithm: tuple[str, str] | None, tmp_path: Path
) -> None:
    out = tmp_path / "told"
    out.mkdir()
    (tmp_path / "broken.dcm").write_bytes(b"no image")
    request = _outcome(kept, out, algorithm, (tmp_path / "broken.dcm",))
    (made,) = compose(_plain(request))
    path = out / made.path
    before = path.read_bytes()
    assert compose(_plain(request)) == (made,)
    assert path.read_bytes() == before
    assert dciodvfy(path) == ()
    assert dsrdump(path)[1] == ()
    assert dcentvfy([path, kept.folder / "seg.dcm", kept.folder / "sr.dcm"]) == ()
    report = dcmread(path)
    assert "ContributingEquipmentSequence" not in report
    assert "missing_slices" in dsrdump(path)[0]
