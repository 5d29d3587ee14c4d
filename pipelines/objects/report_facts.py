"""What the report page says about patient, study and images: pairs of a label and a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from pipelines.objects.identity import Origin
from pipelines.objects.report_fonts import Letters
from pipelines.objects.source_header import patient_and_study, taken_over
from pipelines.projection import pixel_spacing_mm
from pipelines.series_volume import SeriesVolume
from storage.trend import iso_date

Fact = tuple[str, str]
NOT_STATED = "not stated"
_DATE_DIGITS = 8


def patient_facts(header: Dataset, letters: Letters) -> list[Fact]:
    """Name, ID with its issuer, birth date and sex, as the images have them."""
    told = patient_and_study(header)
    issuer = _text(told, "IssuerOfPatientID")
    patient_id = _text(told, "PatientID") or NOT_STATED
    return [
        ("Patient", _name(told.PatientName, letters)),
        ("Patient ID", f"{patient_id} (issuer {issuer})" if issuer else patient_id),
        ("Born", _date(_text(told, "PatientBirthDate"))),
        ("Sex", _text(told, "PatientSex") or NOT_STATED),
    ]


def study_facts(header: Dataset) -> list[Fact]:
    """Date and time, accession number, description and UID of the study."""
    told = patient_and_study(header)
    time = _text(told, "StudyTime")
    clock = f" {time[:2]}:{time[2:4]}" if time[:4].isdigit() and len(time) >= 4 else ""
    uid = taken_over(header, "StudyInstanceUID")
    return [
        ("Study", _date(_text(told, "StudyDate")) + clock),
        ("Accession", _text(told, "AccessionNumber") or NOT_STATED),
        ("Description", _text(told, "StudyDescription") or NOT_STATED),
        ("Study UID", str(uid.value) if uid is not None else NOT_STATED),
    ]


def series_facts(volumes: Mapping[str, SeriesVolume]) -> Iterator[tuple[str, ...]]:
    """Role, modality, number, description and count of slices of each series that was read."""
    for role, volume in volumes.items():
        header = volume.source.first
        yield (
            role,
            _element(header, "Modality"),
            _element(header, "SeriesNumber"),
            _element(header, "SeriesDescription") or NOT_STATED,
            str(volume.voxels.shape[0]),
            _spacing(volume),
        )


def _spacing(volume: SeriesVolume) -> str:
    if not volume.is_projection:
        return " x ".join(f"{mm:.2f}" for mm in volume.spacing_mm)
    stated = pixel_spacing_mm(volume.source.first)
    return " x ".join(f"{mm:.2f}" for mm in stated) if stated else NOT_STATED


def model_facts(origin: Origin) -> list[Fact]:
    """Which model, by whom, where and when it ran."""
    algorithm, station = origin.algorithm, origin.station
    moment = origin.content_time.strftime("%Y-%m-%d %H:%M:%S %z")
    place = ", ".join(part for part in (station.node_name, station.institution_name) if part)
    return [
        ("Model", f"{algorithm.name} {algorithm.version} ({algorithm.manufacturer})"),
        ("Model files", f"sha256 {algorithm.model_digest}"),
        ("Device UID", algorithm.device_uid),
        ("Analysed", f"{moment} on {place}, software {station.software_version}"),
    ]


def _name(name: Any, letters: Letters) -> str:
    """Give the component groups; those that cannot be written are left out if another one can."""
    if not isinstance(name, PersonName):
        name = PersonName(str(name))
    groups = [text for group in str(name).split("=") if (text := _components(group))]
    written = [group for group in groups if letters.can_write(group)]
    return " = ".join(written or groups) or NOT_STATED


def _components(group: str) -> str:
    """Family, given and middle name, then prefix and suffix (PS3.5 6.2.1)."""
    parts = [part.strip() for part in group.split("^")]
    family, given = parts[0], " ".join(part for part in parts[1:3] if part)
    name = ", ".join(part for part in (family, given) if part)
    rest = ", ".join(part for part in parts[3:] if part)
    return f"{name} ({rest})" if name and rest else name or rest


def _date(text: str) -> str:
    is_date = len(text) == _DATE_DIGITS and text.isdigit()
    return iso_date(text) if is_date else text or NOT_STATED


def _text(told: Dataset, keyword: str) -> str:
    return str(told.get(keyword) or "").strip()


def _element(header: Dataset, keyword: str) -> str:
    element = taken_over(header, keyword)
    return "" if element is None or element.value is None else str(element.value).strip()
