"""C-FIND SCU: how many instances of a study does the PACS have (PS3.4 C, Study Root)?

Number of Study Related Instances (0020,1208) and Number of Series Related Instances (0020,1209)
are optional return keys. A PACS that leaves them out, or does not know the study, gives no
evidence; that is an answer, too, and not an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from config.settings import SenderSettings
from node.find_scu import find, find_association_of


@dataclass(frozen=True, slots=True)
class SeriesCount:
    """One series in the PACS; `instances` is None where the PACS does not say."""

    modality: str
    instances: int | None


@dataclass(frozen=True, slots=True)
class PacsCounts:
    """What a PACS has of one study; `instances` is None where it does not say."""

    instances: int | None = None
    series: Mapping[str, SeriesCount] = field(default_factory=dict)


def ask_counts(
    sender: SenderSettings, study_instance_uid: str, *, calling_ae_title: str, timeout_s: float
) -> PacsCounts:
    """Ask the PACS behind `sender`; a study it does not know has no series and no count.

    Each step (connection, association, each answer) may take `timeout_s`.

    Raises:
        CountsUnavailable: no `find_host`, no connection, no association or no final answer.
    """
    with find_association_of(
        sender, calling_ae_title=calling_ae_title, timeout_s=timeout_s
    ) as assoc:
        studies = find(assoc, _study_query(study_instance_uid))
        series = find(assoc, _series_query(study_instance_uid))
    return _counts(studies, series)


def _study_query(study_instance_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = study_instance_uid
    query.NumberOfStudyRelatedInstances = None
    return query


def _series_query(study_instance_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = ""
    query.Modality = ""
    query.NumberOfSeriesRelatedInstances = None
    return query


def _counts(studies: list[Dataset], series: list[Dataset]) -> PacsCounts:
    return PacsCounts(
        instances=_number(studies[0], "NumberOfStudyRelatedInstances") if studies else None,
        series={
            str(match.SeriesInstanceUID): SeriesCount(
                modality=str(match.get("Modality") or ""),
                instances=_number(match, "NumberOfSeriesRelatedInstances"),
            )
            for match in series
            if match.get("SeriesInstanceUID")
        },
    )


def _number(match: Dataset, keyword: str) -> int | None:
    """Return an IS of a match; anything that is no count counts as not said."""
    try:
        number = int(str(match.get(keyword)))
    except ValueError:
        return None
    return number if number >= 0 else None
