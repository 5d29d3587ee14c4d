"""A kept SEG in every other encoding: the same voxels, read back by another library."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from pipelines.errors import NotEncodable, ProofFailed
from pipelines.labels import OverlappingLabels
from pipelines.objects.decoded_segmentation import decode_segmentation
from pipelines.objects.encoding import Encoding, Part, SegmentationForm
from pipelines.objects.encoding_proof import prove_encoding
from pipelines.objects.encoding_request import EncodedObject, EncodingRequest
from pipelines.objects.reencode import reencode
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.kept_result import Kept, kept_result, read_by_highdicom
from tests.unit.pipelines_objects.result_requests import (
    label_map,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import (
    classic_series,
    enhanced_series,
)

BYTES, ODD = (6, 40, 48), (6, 33, 35)
FORMS = [SegmentationForm.BINARY, SegmentationForm.FRACTIONAL, SegmentationForm.LABELMAP]


@pytest.fixture(params=[BYTES, ODD], ids=["whole_bytes", "odd_frames"])
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Kept:
    return kept_result(tmp_path, classic_series(request.param))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.value)
@pytest.mark.parametrize("keeps_empty_frames", [False, True], ids=["omit", "keep"])
def test_every_form_is_read_back_elsewhere_to_the_same_voxels(
    kept: Kept, form: SegmentationForm, keeps_empty_frames: bool
) -> None:
    made = kept.made(form, keeps_empty_frames=keeps_empty_frames)
    path = kept.folder / "out" / made[0].path
    assert dcmread(path).SegmentationType == form.value
    assert np.array_equal(read_by_highdicom(path, kept.source), kept.labels)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.value)
def test_frames_of_an_enhanced_image_stay_where_they_are(
    tmp_path: Path, form: SegmentationForm
) -> None:
    kept = kept_result(tmp_path, enhanced_series())
    path = tmp_path / "out" / kept.made(form, keeps_empty_frames=True)[0].path
    assert np.array_equal(read_by_highdicom(path, kept.source), kept.labels)


@pytest.mark.parametrize(
    "syntax",
    [
        DeflatedExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda uid: uid.keyword,
)
@pytest.mark.parametrize(
    "form", [SegmentationForm.LABELMAP, SegmentationForm.FRACTIONAL], ids=lambda form: form.value
)
def test_every_transfer_syntax_keeps_the_voxels(
    kept: Kept, form: SegmentationForm, syntax: UID
) -> None:
    made = kept.made(form, segmentation_transfer_syntax=syntax)
    path = kept.folder / "out" / made[0].path
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_by_highdicom(path, kept.source), kept.labels)


def test_frames_too_small_for_a_codec_are_told(tmp_path: Path) -> None:
    kept = kept_result(tmp_path, classic_series((6, 24, 31)))
    with pytest.raises(NotEncodable, match="frames of 24 x 31"):
        kept.made(SegmentationForm.LABELMAP, segmentation_transfer_syntax=JPEG2000Lossless)


def test_a_label_map_describes_no_background(kept: Kept) -> None:
    made = kept.made(SegmentationForm.LABELMAP)
    dataset = dcmread(kept.folder / "out" / made[0].path)
    assert [item.SegmentNumber for item in dataset.SegmentSequence] == [1, 2]
    assert dataset.PixelPaddingValue == 0
    assert len(dataset.DimensionIndexSequence) == 1


def test_all_frames_are_there_where_empty_ones_are_kept(kept: Kept) -> None:
    counts = {}
    for form in FORMS:
        made = kept.made(form, keeps_empty_frames=True)
        counts[form.value] = int(dcmread(kept.folder / "out" / made[0].path).NumberOfFrames)
    assert counts == {"BINARY": 12, "FRACTIONAL": 12, "LABELMAP": 6}


def test_a_split_result_has_one_series_for_each_part(kept: Kept) -> None:
    *parts, report = kept.made(SegmentationForm.BINARY, most_segments=1)
    assert len({part.series_instance_uid for part in parts}) == len(parts) == 2
    datasets = [dcmread(kept.folder / "out" / part.path) for part in parts]
    assert len({dataset.SeriesNumber for dataset in datasets}) == 2
    for number, part in enumerate(parts, 1):
        found = read_by_highdicom(kept.folder / "out" / part.path, kept.source)
        assert np.array_equal(found == 1, kept.labels == number)
    assert _segments_of(kept, report) == [(part.sop_instance_uid, 1) for part in parts]


def test_the_report_refers_to_the_segmentation_that_is_sent(kept: Kept) -> None:
    made, report = kept.made(SegmentationForm.LABELMAP)
    assert _segments_of(kept, report) == [(made.sop_instance_uid, 1), (made.sop_instance_uid, 2)]
    dataset = dcmread(kept.folder / "out" / report.path)
    evidence = {
        str(series.SeriesInstanceUID): [
            str(i.ReferencedSOPClassUID) for i in series.ReferencedSOPSequence
        ]
        for study in dataset.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
    }
    kept_seg = dcmread(kept.folder / "seg.dcm")
    assert evidence[made.series_instance_uid] == [made.sop_class_uid]
    assert str(kept_seg.SeriesInstanceUID) not in evidence
    assert dataset.SOPInstanceUID != dcmread(kept.folder / "sr.dcm").SOPInstanceUID


def _segments_of(kept: Kept, report: EncodedObject) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []

    def walk(node: Any) -> None:
        for item in node.get("ContentSequence") or []:
            for reference in item.get("ReferencedSOPSequence") or []:
                if "ReferencedSegmentNumber" in reference:
                    number = int(reference.ReferencedSegmentNumber)
                    found.append((str(reference.ReferencedSOPInstanceUID), number))
            walk(item)

    walk(dcmread(kept.folder / "out" / report.path))
    return found


def test_another_transfer_syntax_alone_is_the_same_instance(kept: Kept) -> None:
    made = kept.made(
        SegmentationForm.AUTO,
        segmentation_transfer_syntax=DeflatedExplicitVRLittleEndian,
        report_transfer_syntax=DeflatedExplicitVRLittleEndian,
    )
    names = [str(dcmread(kept.folder / name).SOPInstanceUID) for name in ("seg.dcm", "sr.dcm")]
    assert [item.sop_instance_uid for item in made] == names


def test_a_repeat_writes_the_same_bytes(kept: Kept) -> None:
    def written() -> list[bytes]:
        made = kept.made(
            SegmentationForm.LABELMAP, segmentation_transfer_syntax=RLELossless, most_segments=1
        )
        return [(kept.folder / "out" / item.path).read_bytes() for item in made]

    assert written() == written()


def test_encodings_do_not_share_a_name(kept: Kept) -> None:
    uids = [
        made.sop_instance_uid
        for form in FORMS
        for changes in ({"keeps_empty_frames": True}, {"most_segments": 1})
        for made in kept.made(form, **changes)
    ]
    assert len(set(uids)) == len(uids)


def test_segments_that_overlap_are_no_label_map(tmp_path: Path) -> None:
    source = classic_series(BYTES)
    one, other = np.zeros(BYTES, dtype=bool), np.zeros(BYTES, dtype=bool)
    one[1:4, 2:9, 2:9] = True
    other[2:5, 5:12, 5:12] = True
    labels = OverlappingLabels.of({1: one, 2: other})
    request = replace(segmentation_request(source, label_map(BYTES)), label_map=labels)
    write_object(build_segmentation(request), tmp_path / "seg.dcm")
    wanted = EncodingRequest(
        tmp_path / "seg.dcm", None, (), Encoding(SegmentationForm.LABELMAP), tmp_path
    )
    with pytest.raises(NotEncodable, match="overlap"):
        reencode(wanted)


def test_a_voxel_that_moved_fails_the_proof(kept: Kept) -> None:
    made = kept.made(SegmentationForm.LABELMAP)
    path = kept.folder / "out" / made[0].path
    dataset = dcmread(path)
    pixels = bytearray(dataset.PixelData)
    pixels[pixels.index(1)] = 2
    dataset.PixelData = bytes(pixels)
    dataset.save_as(path)
    decoded = decode_segmentation(kept.folder / "seg.dcm")
    with pytest.raises(ProofFailed, match="differs"):
        prove_encoding(path, decoded, Part(SegmentationForm.LABELMAP, False, 1, 2, 2))


def test_a_missing_image_is_told_where_empty_frames_are_wanted(kept: Kept) -> None:
    (kept.folder / "images" / "0000.dcm").unlink()
    with pytest.raises(NotEncodable, match="1 source images are gone"):
        kept.made(SegmentationForm.BINARY, keeps_empty_frames=True)


def test_the_process_answers_one_request_and_needs_no_model(kept: Kept) -> None:
    request = kept.request(SegmentationForm.LABELMAP)
    code = (
        "import sys; from pipelines.objects.reencode import main; s = main();"
        "assert not {'torch', 'monai'} & set(sys.modules); raise SystemExit(s)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=request.to_json(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kinds = [(item["kind"], item["encoding"]) for item in json.loads(done.stdout)["objects"]]
    assert kinds == [("SEG", "LABELMAP"), ("SR", "")]
    assert dcmread(request.out_dir / "sr.dcm").file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_a_report_that_goes_alone_refers_to_no_segmentation(kept: Kept, tmp_path: Path) -> None:
    request = replace(kept.request(SegmentationForm.AUTO), segmentation=None)
    (told,) = reencode(request)
    (again,) = reencode(request)
    report, whole = dcmread(request.out_dir / told.path), dcmread(kept.folder / "sr.dcm")
    segmentation = dcmread(kept.folder / "seg.dcm")

    assert again == told
    assert told.sop_instance_uid != whole.SOPInstanceUID
    assert str(report.file_meta.MediaStorageSOPInstanceUID) == told.sop_instance_uid
    assert str(segmentation.SOPInstanceUID) in str(whole)
    for uid in (segmentation.SOPInstanceUID, segmentation.SeriesInstanceUID):
        assert str(uid) not in str(report)
    groups = [item.ContentTemplateSequence[0].TemplateIdentifier for item in _groups(report)]
    assert groups == ["1501"] * len(_groups(whole))


def test_a_report_without_segments_is_left_as_it_is(kept: Kept, tmp_path: Path) -> None:
    request = replace(kept.request(SegmentationForm.AUTO), segmentation=None)
    (alone,) = reencode(request)
    (tmp_path / "again").mkdir()
    request = replace(request, report=request.out_dir / alone.path, out_dir=tmp_path / "again")
    assert reencode(request) == (alone,)


def _groups(report: Dataset) -> list[Dataset]:
    containers = {
        item.ConceptNameCodeSequence[0].CodeValue: item for item in report.ContentSequence
    }
    return list(containers["126010"].ContentSequence)
