"""What SEG and SR say about themselves alike: patient, study, series, equipment and time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pipelines.objects.codes import PROCESSING_EQUIPMENT
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.source_header import patient_and_study, taken_over
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.station import MANUFACTURER
from pipelines.objects.uids import IMPLEMENTATION_CLASS_UID
from storage.dicom_records import CodedConcept
from storage.records import AlgorithmIdentity

SERIES_PREFIX = "AI "
"""Every Series Description starts with it, so that a reader sees what made the series."""

_LO_LENGTH = 64


def mark_result(
    result: Dataset, source: SourceSeries, identity: ResultIdentity, origin: Origin
) -> None:
    """Write the attributes that SEG and SR share; what the library wrote by itself is replaced.

    Nothing here depends on the clock or the machine: the same request gives the same bytes.
    """
    result.update(patient_and_study(source.first))
    result.SpecificCharacterSet = "ISO_IR 192"
    _set_times(result, source.first, origin.content_time)
    _set_equipment(result, origin)
    result.SeriesDescription = series_description(identity.series_description)
    result.file_meta = file_meta(result)


def series_description(text: str) -> str:
    """Give the text with the prefix that says AI, cut to the 64 characters of LO."""
    prefixed = text if text.startswith(SERIES_PREFIX) else f"{SERIES_PREFIX}{text}"
    return long_string(prefixed)


def long_string(text: str) -> str:
    """Give the text as LO allows it: 64 characters, no backslash (PS3.5 6.2)."""
    return text.replace("\\", "/")[:_LO_LENGTH].strip()


def time_zone(header: Dataset, content_time: datetime) -> timezone:
    """Give the offset for Timezone Offset From UTC (0008,0201), which rules the whole object.

    The copied study time must keep its meaning: the source's own offset wins; without one, the
    site's offset on the day of the study, for the object may be made in another season.
    """
    element = taken_over(header, "TimezoneOffsetFromUTC")
    stated = _parsed_offset(str(element.value)) if element is not None else None
    if stated is not None:
        return timezone(stated)
    moment = _study_time(header) or content_time
    offset = moment.replace(tzinfo=content_time.tzinfo).utcoffset() or timedelta(0)
    # Local mean time of old (or shifted) dates has seconds, which the attribute cannot tell.
    return timezone(timedelta(minutes=offset // timedelta(minutes=1)))


def code_item(concept: CodedConcept) -> Dataset:
    """Give a code sequence item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = concept.value
    item.CodingSchemeDesignator = concept.scheme
    item.CodeMeaning = concept.meaning
    return item


def _set_times(result: Dataset, header: Dataset, content_time: datetime) -> None:
    zone = time_zone(header, content_time)
    local = content_time.astimezone(zone)
    result.TimezoneOffsetFromUTC = local.strftime("%z")
    for kind in ("InstanceCreation", "Series", "Content"):
        setattr(result, f"{kind}Date", local.strftime("%Y%m%d"))
        setattr(result, f"{kind}Time", local.strftime("%H%M%S.%f"))


def _set_equipment(result: Dataset, origin: Origin) -> None:
    station, algorithm = origin.station, origin.algorithm
    result.Manufacturer = MANUFACTURER
    result.ManufacturerModelName = long_string(algorithm.name)
    result.SoftwareVersions = [
        long_string(f"{MANUFACTURER} {station.software_version}"),
        long_string(f"{algorithm.name} {algorithm.version}"),
    ]
    result.DeviceSerialNumber = long_string(station.node_name)
    if station.institution_name:
        result.InstitutionName = long_string(station.institution_name)
    result.ContributingEquipmentSequence = [_model_as_equipment(algorithm)]


def _model_as_equipment(algorithm: AlgorithmIdentity) -> Dataset:
    """Describe the model that ran (IHE AIR 6.5.3.1): one Device UID per digest of its files."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(PROCESSING_EQUIPMENT)]
    item.Manufacturer = long_string(algorithm.manufacturer)
    item.ManufacturerModelName = long_string(algorithm.name)
    item.SoftwareVersions = long_string(algorithm.version)
    item.DeviceUID = algorithm.device_uid
    item.ContributionDescription = f"Model files sha256 {algorithm.model_digest}"
    return item


def file_meta(result: Dataset) -> FileMetaDataset:
    """Give the File Meta Information (PS3.10 7.1) of an object that is written here."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = MANUFACTURER.upper()
    return meta


def _parsed_offset(text: str) -> timedelta | None:
    try:
        return datetime.strptime(text.strip(), "%z").utcoffset()
    except ValueError:
        return None


def _study_time(header: Dataset) -> datetime | None:
    date, time = taken_over(header, "StudyDate"), taken_over(header, "StudyTime")
    day = str(date.value) if date is not None else ""
    digits = str(time.value)[:6].ljust(6, "0") if time is not None and time.value else "120000"
    try:
        return datetime.strptime(day + digits, "%Y%m%d%H%M%S")
    except ValueError:
        return None
