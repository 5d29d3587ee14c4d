"""What an object says about itself that is made after the results: it is told as they are.

Patient, study and equipment come from an object of the same job, so that a rejection note or
another revision is filed beside it; only its own UIDs, series and time are new.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime

from pydicom.dataset import Dataset

from pipelines.objects.result_header import file_meta, series_description, time_zone
from pipelines.objects.source_header import patient_and_study

_TAKEN = (
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "DeviceSerialNumber",
    "InstitutionName",
    "ContributingEquipmentSequence",
)


def mark_notice(notice: Dataset, made: Dataset, description: str, at: datetime) -> None:
    """Write header and File Meta Information; `made` is an object of the job, `at` is aware."""
    notice.update(patient_and_study(made))
    notice.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _TAKEN:
        if keyword in made:
            notice.add(deepcopy(made[keyword]))
    local = at.astimezone(time_zone(made, at))
    notice.TimezoneOffsetFromUTC = local.strftime("%z")
    for kind in ("InstanceCreation", "Series", "Content"):
        setattr(notice, f"{kind}Date", local.strftime("%Y%m%d"))
        setattr(notice, f"{kind}Time", local.strftime("%H%M%S.%f"))
    notice.SeriesDescription = series_description(description)
    notice.file_meta = file_meta(notice)
