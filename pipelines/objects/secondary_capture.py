"""The key images as Secondary Capture (PS3.3 A.8.1), for viewers that know nothing else.

One true-colour image. We name no patient in the pixels; that it is AI and unreviewed, we do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from pipelines.objects.codes import SOURCE_IMAGE
from pipelines.objects.encapsulated_pdf import source_references
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.key_images import KeyImages
from pipelines.objects.montage import montage_sheet
from pipelines.objects.result_header import code_item, mark_result
from pipelines.objects.source_header import taken_over
from pipelines.objects.source_series import SourceSeries
from pipelines.projection_views import Side, side_of
from storage.records import MeasurementRecord

_COLUMNS = 4
_BODY_PART = ("BodyPartExamined", "Laterality")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def capture(
    images: KeyImages,
    measurements: Sequence[MeasurementRecord],
    source: SourceSeries,
    identity: ResultIdentity,
    origin: Origin,
    further: Sequence[SourceSeries] = (),
) -> Dataset:
    """Give the object; nothing is burnt in that tells whose it is, but what the images have.

    `further` are other series whose images it shows.
    """
    algorithm = origin.algorithm
    sheet = montage_sheet(
        images,
        columns=_COLUMNS,
        title=f"AI result, not reviewed: {algorithm.name} {algorithm.version}",
        remarks=[*_remarks(measurements), *images.remarks],
    )
    picture = captured_picture(sheet, source, range(source.shape[0]), identity, origin)
    if any(_burnt_in(other) for other in further):
        picture.BurnedInAnnotation = "YES"
    for other in further:
        picture.SourceImageSequence.extend(_source_images(other, range(other.shape[0])))
    if further and "Laterality" in picture:
        picture.Laterality = ""  # what it shows is of either side
    told = " ".join(images.remarks)
    picture.DerivationDescription = told or "Slices with the structures that an algorithm found"
    return picture


def captured_picture(
    sheet: Any,
    source: SourceSeries,
    indices: Iterable[int],
    identity: ResultIdentity,
    origin: Origin,
) -> Dataset:
    """Give a Pillow picture as Secondary Capture, made of the slices `indices` of the source."""
    picture = Dataset()
    picture.SOPClassUID = SecondaryCaptureImageStorage
    picture.SOPInstanceUID = identity.sop_instance_uid
    picture.StudyInstanceUID = source.first.StudyInstanceUID
    picture.SeriesInstanceUID = identity.series_instance_uid
    picture.SeriesNumber = identity.series_number
    picture.Modality = "OT"
    picture.ConversionType = "WSD"
    picture.InstanceNumber = 1
    picture.PatientOrientation = ""
    picture.ImageType = ["DERIVED", "SECONDARY"]
    picture.BurnedInAnnotation = "YES" if _burnt_in(source) else "NO"
    picture.SourceImageSequence = _source_images(source, indices)
    take_over_body_part(picture, source)
    # What was lost stays lost (PS3.3 C.7.6.1.1.5).
    _take_over(picture, source, _LOSSY)
    _set_pixels(picture, sheet)
    mark_result(picture, source, identity, origin)
    return picture


def _burnt_in(source: SourceSeries) -> bool:
    """Whether the images that are shown say that their pixels tell whose they are."""
    stated = (taken_over(header, "BurnedInAnnotation") for header in source.headers)
    return any(one is not None and str(one.value).upper() == "YES" for one in stated)


def _remarks(measurements: Sequence[MeasurementRecord]) -> list[str]:
    structures = {each.tracking_uid: each for each in measurements}.values()
    absent = [each.structure for each in structures if not each.is_present]
    head = ["No findings."] if len(absent) == len(structures) else []
    return [*head, f"Looked for and not found: {', '.join(absent)}."] if absent else head


def _source_images(source: SourceSeries, indices: Iterable[int]) -> list[Dataset]:
    chosen = list(indices)
    if source.is_multiframe:
        items = source_references([source])
        if len(chosen) < len(source.frame_numbers):
            items[0].ReferencedFrameNumber = [source.frame_numbers[index] for index in chosen]
    else:
        references = source_references([source])
        items = [references[index] for index in chosen]
    for item in items:
        item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    return items


def take_over_body_part(result: Dataset, source: SourceSeries) -> None:
    """Take over which part of the body the series shows (General Series, PS3.3 C.7.3.1)."""
    _take_over(result, source, _BODY_PART)
    if not any(keyword in result for keyword in _BODY_PART):
        # Type 2C: whether a part is one of a pair is unknown with the part.
        result.Laterality = ""
    if "Laterality" not in result and side_of(source.first) is not Side.UNSTATED:
        result.Laterality = ""  # a part of a pair; images of one series may show either


def _take_over(picture: Dataset, source: SourceSeries, keywords: Iterable[str]) -> None:
    for keyword in keywords:
        element = taken_over(source.first, keyword)
        if element is not None and not element.is_empty:
            picture.add(element)


def _set_pixels(picture: Dataset, sheet: Any) -> None:
    pixels = sheet.tobytes()
    picture.SamplesPerPixel = 3
    picture.PhotometricInterpretation = "RGB"
    picture.PlanarConfiguration = 0
    picture.Columns, picture.Rows = sheet.size
    picture.BitsAllocated = picture.BitsStored = 8
    picture.HighBit = 7
    picture.PixelRepresentation = 0
    picture.PixelData = pixels + b"\0" * (len(pixels) % 2)
