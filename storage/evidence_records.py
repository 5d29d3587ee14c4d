"""Frozen values of evidence: lists of instances, and what becomes of storage commitment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class ListSource(StrEnum):
    """Which service a list of instances came by."""

    STORAGE_COMMITMENT = "storage_commitment"
    AVAILABILITY = "availability"
    PERFORMED_STEP = "performed_step"


class ReportState(StrEnum):
    """Where the report on a storage commitment request stands."""

    WAITING = "waiting"
    REPORTED = "reported"
    GIVEN_UP = "given_up"


class ConfirmationState(StrEnum):
    """What comes next for a delivery that its PACS has not confirmed."""

    ASKING = "asking"
    AWAITED = "awaited"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class ListedSop:
    """One instance that a list names.

    `is_required` is False for what the study is complete without: derived objects, and what the
    list itself calls unavailable.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class IncomingList:
    """A list as it came; `list_uid` is its Transaction UID or SOP Instance UID."""

    source: ListSource
    calling_ae_title: str
    list_uid: str
    study_instance_uid: str
    instances: tuple[ListedSop, ...]
    received_at: datetime
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class ListEvidence:
    """What all lists together say about one study.

    `missing` counts the instances that are named and required, and have not come; `quarantined`
    those that came and were set aside; `unlisted` the instances here that no list names, by
    Series Instance UID; `open_steps` the performed procedure steps in progress.
    """

    sources: tuple[ListSource, ...] = ()
    missing: int = 0
    unlisted: Mapping[str, int] = field(default_factory=dict)
    open_steps: int = 0
    quarantined: int = 0

    @property
    def waits_for_more(self) -> bool:
        """Whether somebody has announced what is not here yet."""
        return self.missing > 0 or self.open_steps > 0

    @property
    def is_proof(self) -> bool:
        """Whether all that is named is here, and all that is here is named."""
        has_all = not (self.waits_for_more or self.quarantined or self.unlisted)
        return bool(self.sources) and has_all


NO_LISTS = ListEvidence()


@dataclass(frozen=True, slots=True)
class CommitmentDue:
    """A storage commitment request whose sender waits for our report."""

    list_id: int
    transaction_uid: str
    calling_ae_title: str
    is_duplicate: bool
    attempts: int
    requested_at: datetime
    instances: tuple[ListedSop, ...]


@dataclass(frozen=True, slots=True)
class ConfirmationRecord:
    """One delivery that its PACS has not confirmed yet."""

    delivery_id: int
    job_id: int
    transaction_uid: str
    state: ConfirmationState
    attempts: int
    began_at: datetime
