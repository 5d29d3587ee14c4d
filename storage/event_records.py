"""Frozen values of what is written once and never changed: events and acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One change of state of a job or a delivery."""

    at: datetime
    from_state: str
    to_state: str
    actor: str
    reason_code: str
    reason_text: str


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One security-relevant act (PS3.15 A.5 event codes), kept append-only."""

    at: datetime
    event: str
    outcome: str
    actor: str
    detail: Mapping[str, str]
