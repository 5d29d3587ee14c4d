"""From files to a volume: order, values, encodings, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from pipelines.errors import InferenceFailed, RefusalCode, Refused
from pipelines.series_volume import read_series
from tests.unit.pipelines.ramps import changed, ramp, refusal
from tests.unit.pipelines.volume_files import write_enhanced, write_series

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def test_voxels_are_slice_row_column_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    paths = write_series(tmp_path, ramp())
    random.Random(1).shuffle(paths)
    volume = read_series(paths)
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels, ramp())
    assert [header.InstanceNumber for header in volume.headers] == [1, 2, 3, 4, 5]


def test_headers_follow_the_slices_and_hold_no_pixels(tmp_path: Path) -> None:
    volume = read_series(write_series(tmp_path, ramp(), orientation=CORONAL)[::-1])
    for number, header in enumerate(volume.headers):
        position = (volume.affine_lps @ [number, 0, 0, 1])[:3]
        assert position == pytest.approx(list(header.ImagePositionPatient))
        assert "PixelData" not in header
    assert (volume.orientation, volume.frame_numbers) == ("coronal", ())


def test_rescale_is_taken_from_each_slice(tmp_path: Path) -> None:
    def rescaled(image: Dataset, index: int) -> None:
        image.RescaleSlope, image.RescaleIntercept = index + 0.5, -10 * index

    volume = read_series(write_series(tmp_path, ramp(), edit=rescaled))
    factors = np.arange(5, dtype=np.float32)[:, None, None]
    assert np.array_equal(volume.voxels, ramp() * (factors + np.float32(0.5)) - 10 * factors)


def test_signed_values_keep_their_sign(tmp_path: Path) -> None:
    stored = ramp(dtype=np.int16) - np.int16(120)
    assert np.array_equal(read_series(write_series(tmp_path, stored)).voxels, stored)


@pytest.mark.parametrize("representation", [0, 1])
def test_bits_above_bits_stored_do_not_count(tmp_path: Path, representation: int) -> None:
    values = ramp(dtype=np.int16) - np.int16(120 * representation)
    overlaid = (values.view(np.uint16) & 0x0FFF) | 0xA000

    def twelve_bits(image: Dataset, _: int) -> None:
        image.BitsStored, image.HighBit, image.PixelRepresentation = 12, 11, representation

    volume = read_series(write_series(tmp_path, overlaid, edit=twelve_bits))
    assert np.array_equal(volume.voxels, values)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_compressed_slices_read_as_their_plain_twins(
    tmp_path: Path, syntax: str, dtype: Any
) -> None:
    stored = ramp((4, 40, 48), dtype)
    assert np.array_equal(read_series(write_series(tmp_path, stored, syntax=syntax)).voxels, stored)


@pytest.mark.parametrize("kind", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
def test_lossless_jpeg_reads_as_its_plain_twin(tmp_path: Path, kind: str) -> None:
    gdcm = pytest.importorskip("gdcm")
    stored = ramp((3, 16, 24))
    paths = [_recoded(path, gdcm, kind) for path in write_series(tmp_path, stored)]
    assert "JPEG Lossless" in dcmread(paths[0]).file_meta.TransferSyntaxUID.name
    assert np.array_equal(read_series(paths).voxels, stored)


def _recoded(path: Path, gdcm: Any, kind: str) -> Path:
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kind)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
    return path


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_plain_transfer_syntax_reads_alike(tmp_path: Path, syntax: str) -> None:
    paths = write_series(tmp_path, ramp())
    for path in paths:
        image = dcmread(path)
        if syntax == ExplicitVRBigEndian:
            image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        image.file_meta.TransferSyntaxUID = UID(syntax)
        dcmwrite(
            path,
            image,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
        )
    assert np.array_equal(read_series(paths).voxels, ramp())


def test_frames_of_an_enhanced_image_are_ordered_by_their_positions(tmp_path: Path) -> None:
    slice_of_frame = [3, 0, 4, 1, 2]
    volume = read_series(
        [write_enhanced(tmp_path / "e.dcm", ramp(), slice_of_frame=slice_of_frame)]
    )
    slopes = np.arange(1, 6)[:, None, None]
    assert np.array_equal(volume.voxels, ramp() * slopes)
    assert volume.frame_numbers == (2, 4, 5, 1, 3)
    assert len(volume.headers) == 1
    assert volume.spacing_mm == pytest.approx((2, 1, 1))


def test_an_enhanced_image_with_one_broken_frame_is_refused(tmp_path: Path) -> None:
    def without_position(image: Dataset) -> None:
        del image.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence

    path = write_enhanced(
        tmp_path / "e.dcm", ramp(), slice_of_frame=range(5), edit=without_position
    )
    assert refusal([path]) is RefusalCode.NO_GEOMETRY


def test_an_enhanced_image_with_a_group_too_few_is_refused(tmp_path: Path) -> None:
    def one_less(image: Dataset) -> None:
        del image.PerFrameFunctionalGroupsSequence[4]

    path = write_enhanced(tmp_path / "e.dcm", ramp(), slice_of_frame=range(5), edit=one_less)
    assert refusal([path]) is RefusalCode.NO_GEOMETRY


def test_two_phases_in_an_enhanced_image_are_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "e.dcm", ramp(), slice_of_frame=[0, 1, 2, 0, 1, 2])
    assert refusal([path]) is RefusalCode.DUPLICATE_POSITIONS


def test_two_enhanced_images_in_one_series_are_refused(tmp_path: Path) -> None:
    paths = [
        write_enhanced(tmp_path / name, ramp(), slice_of_frame=range(5)) for name in ("a", "b")
    ]
    assert refusal(paths) is RefusalCode.SEVERAL_VOLUMES


def test_frames_without_functional_groups_are_refused(tmp_path: Path) -> None:
    def ungrouped(image: Dataset) -> None:
        del image.PerFrameFunctionalGroupsSequence

    path = write_enhanced(tmp_path / "e.dcm", ramp(), slice_of_frame=range(5), edit=ungrouped)
    assert refusal([path]) is RefusalCode.NOT_A_VOLUME


@pytest.mark.parametrize(
    ("keyword", "value", "at", "code"),
    [
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], None, RefusalCode.LOCALIZER),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], 2, RefusalCode.MISSING_SLICES),
        ("ImageType", ["DERIVED", "PRIMARY", "MPR"], None, RefusalCode.DERIVED),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], None, RefusalCode.NOT_A_VOLUME),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7.2", None, RefusalCode.SECONDARY_CAPTURE),
        ("PhotometricInterpretation", "PALETTE COLOR", None, RefusalCode.NOT_GREYSCALE),
        ("SamplesPerPixel", 3, None, RefusalCode.NOT_GREYSCALE),
        ("FrameOfReferenceUID", "2.25.7", 1, RefusalCode.MIXED_FRAMES_OF_REFERENCE),
        ("FrameOfReferenceUID", None, None, RefusalCode.NO_GEOMETRY),
        ("SeriesInstanceUID", "", 1, RefusalCode.UNIDENTIFIED),
        ("StudyInstanceUID", None, None, RefusalCode.UNIDENTIFIED),
        ("SeriesInstanceUID", "2.25.7", 1, RefusalCode.MIXED_SERIES),
        ("ImagePositionPatient", None, 3, RefusalCode.NO_GEOMETRY),
        ("ImageOrientationPatient", [1, 0, 0], 3, RefusalCode.NO_GEOMETRY),
        ("PixelSpacing", None, 0, RefusalCode.NO_GEOMETRY),
        ("NumberOfFrames", 2, 0, RefusalCode.NOT_A_VOLUME),
        ("RescaleSlope", 0, None, RefusalCode.UNREADABLE_PIXELS),
        ("HighBit", 14, 3, RefusalCode.UNREADABLE_PIXELS),
        ("HighBit", None, 3, RefusalCode.UNREADABLE_PIXELS),
        ("PixelData", b"\0\0", 2, RefusalCode.UNREADABLE_PIXELS),
        ("BitsAllocated", 24, None, RefusalCode.UNREADABLE_PIXELS),
    ],
)
def test_what_is_no_volume_is_refused_with_its_code(
    tmp_path: Path, keyword: str, value: Any, at: int | None, code: RefusalCode
) -> None:
    paths = write_series(tmp_path, ramp(), edit=changed(keyword, value, at=at))
    assert refusal(paths) is code


def test_uids_that_only_the_file_itself_states_are_taken_from_it(tmp_path: Path) -> None:
    paths = write_series(tmp_path, ramp())
    for path in paths:
        image = dcmread(path)
        image.SOPInstanceUID = ""
        image.save_as(path)
    uids = [str(header.SOPInstanceUID) for header in read_series(paths).headers]
    assert uids == [f"2.25.2001.{number}" for number in range(1, 6)]


def test_a_series_without_images_is_refused() -> None:
    assert refusal([]) is RefusalCode.TOO_FEW_SLICES


def test_a_file_cut_off_in_its_pixels_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path, ramp())
    paths[1].write_bytes(paths[1].read_bytes()[:-10])
    assert refusal(paths) is RefusalCode.UNREADABLE_PIXELS


def test_a_broken_compressed_slice_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path, ramp((4, 40, 48)), syntax=JPEG2000Lossless)
    content = bytearray(paths[2].read_bytes())
    start = content.find(b"\xff\x4f\xff\x51")
    content[start + 4 : start + 44] = bytes(40)
    paths[2].write_bytes(content)
    assert refusal(paths) is RefusalCode.UNREADABLE_PIXELS


def test_a_file_that_is_no_dicom_is_refused_without_quoting_it(tmp_path: Path) -> None:
    paths = write_series(tmp_path, ramp())
    paths[0].write_bytes(b"Doe^Jane was here" * 20)
    with pytest.raises(Refused, match="unreadable_pixels") as caught:
        read_series(paths)
    assert "Doe" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_the_disk_does_not_give_is_no_refusal(tmp_path: Path) -> None:
    paths = write_series(tmp_path, ramp())
    paths[2].unlink()
    with pytest.raises(InferenceFailed, match="No such file") as caught:
        read_series(paths)
    assert str(tmp_path) not in str(caught.value)
