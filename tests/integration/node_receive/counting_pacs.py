"""A PACS that answers C-FIND for counts in all the ways that real ones do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from tests.peers.ports import free_port
from tests.peers.scp import start_scp

PENDING, SUCCESS, UNABLE_TO_PROCESS = 0xFF00, 0x0000, 0xC001


@dataclass
class CountingPacs:
    """Answers with `series` (UID to modality and count); change its fields while it runs."""

    series: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    knows_counts: bool = True
    delay_s: float = 0
    status: int = SUCCESS
    asked: int = 0
    port: int = field(default_factory=free_port)
    ae_title: str = "COUNTING"

    def __enter__(self) -> CountingPacs:
        ae = AE(ae_title=self.ae_title)
        ae.require_called_aet = True
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        self._server: Any = start_scp(ae, ("127.0.0.1", self.port), [(evt.EVT_C_FIND, self._find)])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.ae.shutdown()

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        if query.QueryRetrieveLevel == "STUDY":
            self.asked += 1
        time.sleep(self.delay_s)
        if self.status == SUCCESS and self.series:
            matches = (
                self._series(query)
                if query.QueryRetrieveLevel == "SERIES"
                else [self._study(query)]
            )
            for match in matches:
                yield PENDING, match
        yield self.status, None

    def _study(self, query: Dataset) -> Dataset:
        match = Dataset()
        match.QueryRetrieveLevel = "STUDY"
        match.StudyInstanceUID = query.StudyInstanceUID
        if self.knows_counts:
            match.NumberOfStudyRelatedInstances = sum(count for _, count in self.series.values())
        return match

    def _series(self, query: Dataset) -> list[Dataset]:
        matches = []
        for uid, (modality, count) in self.series.items():
            match = Dataset()
            match.QueryRetrieveLevel = "SERIES"
            match.StudyInstanceUID = query.StudyInstanceUID
            match.SeriesInstanceUID = uid
            match.Modality = modality
            if self.knows_counts:
                match.NumberOfSeriesRelatedInstances = count
            matches.append(match)
        return matches
