"""PET counts as standardised uptake values by body weight, g/mL (PS3.3 C.8.9.1, QIBA FDG-PET).

SUV = activity concentration [Bq/mL] x body weight [g] / injected dose [Bq], the dose decayed to the
moment to which the images were corrected. Images that are SUV already (GML) stay as they are.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

from pipelines.errors import RefusalCode, Refused

PHILIPS = "Philips PET Private Group"
PHILIPS_GROUP, SUV_FACTOR, CONCENTRATION_FACTOR = 0x7053, 0x00, 0x09
GE_ACQUISITION, GE_SCAN_START = (0x0009, "GEMS_PETD_01"), 0x0D
LONGEST_UPTAKE = timedelta(hours=24)
GRAMS_PER_KG = 1000.0
MOST_HALF_LIVES = 10.0
"""Nobody scans what is left of a dose then: the hours of injection and scan are contradictory."""

LEAST_DOSE_BQ = 1e5
"""Some headers tell megabecquerel, where the standard wants becquerel."""

BY_BODY_WEIGHT = ("", "BW")

_UNUSABLE = (ValueError, TypeError, AttributeError, LookupError, OverflowError)


def suv_factor(image: Dataset) -> float:
    """What the rescaled values of one PET image are multiplied with to be SUV by body weight.

    Raises `Refused` (no_suv) that names the attribute that is missing or cannot be used.
    """
    units = str(image.get("Units") or "").strip()
    if units == "GML":
        kind = str(image.get("SUVType") or "").strip()
        if kind not in BY_BODY_WEIGHT:
            raise _no_suv("SUVType is not BW: uptake by lean mass or surface cannot be turned back")
        return 1.0
    if units == "BQML":
        return _per_becquerel(image)
    if units == "CNTS":
        return _philips_factor(image)
    raise _no_suv(f"Units {units} are none of BQML, GML and CNTS" if units else "Units is missing")


def _philips_factor(image: Dataset) -> float:
    to_suv = _private(image, SUV_FACTOR)
    if to_suv:
        return to_suv
    to_concentration = _private(image, CONCENTRATION_FACTOR)
    if to_concentration:
        return to_concentration * _per_becquerel(image)
    raise _no_suv("Units are CNTS and no factor of the manufacturer turns counts into uptake")


def _private(image: Dataset, element: int) -> float:
    try:
        return float(image.private_block(PHILIPS_GROUP, PHILIPS)[element].value)
    except _UNUSABLE:
        return 0.0


def _per_becquerel(image: Dataset) -> float:
    corrected = image.get("CorrectedImage") or ()
    corrected = {corrected} if isinstance(corrected, str) else set(corrected)
    if "DECY" not in corrected:
        raise _no_suv("CorrectedImage does not hold DECY: the counts were not corrected for decay")
    weight_kg = _positive(image, "PatientWeight")
    drug = _radiopharmaceutical(image)
    dose_bq = _positive(drug, "RadionuclideTotalDose")
    if dose_bq < LEAST_DOSE_BQ:
        raise _no_suv(f"RadionuclideTotalDose is {dose_bq:g} Bq: too little to be seen; MBq?")
    return weight_kg * GRAMS_PER_KG / (dose_bq * _decay_of_dose(image, drug))


def _decay_of_dose(image: Dataset, drug: Dataset) -> float:
    correction = str(image.get("DecayCorrection") or "").strip()
    if correction == "ADMIN":
        return 1.0
    if correction != "START":
        raise _no_suv("DecayCorrection is neither START nor ADMIN")
    half_life_s = _positive(drug, "RadionuclideHalfLife")
    waited_s = _uptake(image, drug).total_seconds()
    if waited_s > MOST_HALF_LIVES * half_life_s:
        raise _no_suv(
            f"the scan starts {waited_s / 3600:.1f} h after the injection, which is "
            f"{waited_s / half_life_s:.1f} half-lives, allowed {MOST_HALF_LIVES:g}"
        )
    return float(2.0 ** (-waited_s / half_life_s))


def _uptake(image: Dataset, drug: Dataset) -> timedelta:
    """From injection to the start of the scan."""
    start = _scan_start(image)
    injected = _injection(drug, start)
    waited = start - injected
    if not timedelta(0) <= waited <= LONGEST_UPTAKE:
        hours = waited.total_seconds() / 3600
        raise _no_suv(f"the scan starts {hours:.1f} h after the injection, allowed 0 to 24")
    return waited


def _scan_start(image: Dataset) -> datetime:
    """The series' own time, unless the images were acquired before it (made again later)."""
    series, acquisition = _moment(image, "Series"), _moment(image, "Acquisition")
    if series is None or (acquisition is not None and acquisition < series):
        return _scan_start_of_ge(image)
    return series


def _scan_start_of_ge(image: Dataset) -> datetime:
    try:
        group, creator = GE_ACQUISITION
        return _date_time(str(image.private_block(group, creator)[GE_SCAN_START].value))
    except _UNUSABLE:
        text = "SeriesDate and SeriesTime do not tell when the scan started"
        raise _no_suv(text) from None


def _date_time(text: str) -> datetime:
    value = DT(text)
    if not isinstance(value, datetime):
        raise ValueError("no date and time")
    return value.replace(tzinfo=None)


def _moment(image: Dataset, kind: str) -> datetime | None:
    try:
        day, time = DA(str(image[f"{kind}Date"].value)), TM(str(image[f"{kind}Time"].value))
        return datetime.combine(day, time) if day and time else None
    except _UNUSABLE:
        return None


def _injection(drug: Dataset, scan_start: datetime) -> datetime:
    try:
        stated = drug.get("RadiopharmaceuticalStartDateTime")
        if stated:
            return _date_time(str(stated))
        time = TM(str(drug["RadiopharmaceuticalStartTime"].value))
        injected = datetime.combine(scan_start.date(), time)
    except _UNUSABLE:
        raise _no_suv("RadiopharmaceuticalStartDateTime and -StartTime are missing") from None
    return injected if injected <= scan_start else injected - timedelta(days=1)  # over midnight


def _radiopharmaceutical(image: Dataset) -> Dataset:
    items = image.get("RadiopharmaceuticalInformationSequence") or []
    if len(items) != 1:
        text = f"RadiopharmaceuticalInformationSequence has {len(items)} items, 1 is needed"
        raise _no_suv(text)
    item: Dataset = items[0]
    return item


def _positive(header: Dataset, keyword: str) -> float:
    try:
        number = float(header[keyword].value)
    except _UNUSABLE:
        raise _no_suv(f"{keyword} is missing or malformed") from None
    if not 0 < number < float("inf"):
        raise _no_suv(f"{keyword} is {number:g}, not positive")
    return number


def _no_suv(text: str) -> Refused:
    return Refused(RefusalCode.NO_SUV, text)
