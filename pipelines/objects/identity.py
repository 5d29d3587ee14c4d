"""Who a result object is: its UIDs, its series attributes and the time of the analysis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipelines.objects.station import Station
from storage.records import AlgorithmIdentity


@dataclass(frozen=True, slots=True)
class ResultIdentity:
    """UIDs and series attributes of one result object; one instance a series.

    Viewers show only the last SEG instance of a series, hence a series of its own each.
    """

    sop_instance_uid: str
    series_instance_uid: str
    series_number: int
    series_description: str


@dataclass(frozen=True, slots=True)
class Origin:
    """What made the results of one job, and when: the same for its SEG and its SR.

    `content_time` is the start of the analysis, an aware time in the site's time zone.
    """

    algorithm: AlgorithmIdentity
    station: Station
    content_time: datetime

    def __post_init__(self) -> None:
        if self.content_time.utcoffset() is None:
            raise ValueError("content_time needs a time zone")
