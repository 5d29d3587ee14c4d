"""Is a study complete? Evidence is weighed, and what decided is written down.

DICOM has no end of a study. In this order:

1. The PACS was asked (C-FIND) and has exactly what has come: complete, evidence `pacs_counts`.
2. An association that touched the study still runs: not complete.
3. The PACS has more than what has come: wait longer than usual, but not for ever. A PACS may
   count what it will never send.
4. The last association was released: complete after `quiet_time_s` without an instance,
   evidence `quiet_time`.
5. It was aborted or lost: the same after `quiet_time_after_abort_s`, because senders come back.

A late instance is no disaster: it makes a new generation, and the result is superseded.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

import structlog

from config.settings import CompletenessSettings, SenderSettings, Settings
from node.errors import CountsUnavailable
from node.find_counts import PacsCounts, SeriesCount
from storage import studies
from storage.database import Database
from storage.instance_files import uid_tag
from storage.studies import StudyProgress


class AskCounts(Protocol):
    """Asks a PACS for counts; `node.find_counts.ask_counts` does it by C-FIND."""

    def __call__(
        self,
        sender: SenderSettings,
        study_instance_uid: str,
        *,
        calling_ae_title: str,
        timeout_s: float,
    ) -> PacsCounts:
        """Return what the PACS has; raise `CountsUnavailable` when it cannot be asked."""
        ...


PACS_COUNTS = "pacs_counts"
QUIET_TIME = "quiet_time"
QUIET_TIME_AFTER_ABORT = "quiet_time_after_abort"

# A PACS that routes while it still receives has, between two instances, just what we have.
_SETTLE_TIME = timedelta(seconds=1)
_FIRST_BACK_OFF = timedelta(seconds=5)
_LONGEST_BACK_OFF = timedelta(seconds=60)
_ASKING_THREADS = 4

# Made from images, by people or programs: a PACS does not route them with the images, and
# results of our own are among them.
_DERIVED_MODALITIES = frozenset({"AU", "DOC", "KO", "PR", "REG", "RTSTRUCT", "RWV", "SEG", "SR"})

_log = structlog.get_logger()


class Comparison(Enum):
    """What the PACS has, compared with what has come."""

    UNKNOWN = "unknown"
    EQUAL = "equal"
    MORE = "more"


def compare(
    counts: PacsCounts | None, received: Mapping[str, int], own_series: Set[str] = frozenset()
) -> Comparison:
    """Compare series by series; the study's own count only where no series has one.

    `received` and the keys of `counts.series` are by Series Instance UID. Series of our own
    results, and derived ones that we do not have, do not count as missing.
    """
    if counts is None:
        return Comparison.UNKNOWN
    expected = {
        uid: series.instances
        for uid, series in counts.series.items()
        if uid in received or not (uid in own_series or _is_derived(series))
    }
    if not expected or not any(number is not None for number in expected.values()):
        return _compare_numbers(counts.instances, sum(received.values()))
    results = {_compare_numbers(number, received.get(uid, 0)) for uid, number in expected.items()}
    if Comparison.MORE in results:
        return Comparison.MORE
    # A series that has come but that the PACS does not list: it is behind, and no witness.
    is_listed = set(received) <= set(expected)
    return Comparison.EQUAL if is_listed and results == {Comparison.EQUAL} else Comparison.UNKNOWN


def _is_derived(series: SeriesCount) -> bool:
    return series.modality in _DERIVED_MODALITIES


def _compare_numbers(in_pacs: int | None, received: int) -> Comparison:
    if in_pacs is None or in_pacs < received:
        return Comparison.UNKNOWN
    return Comparison.EQUAL if in_pacs == received else Comparison.MORE


def evidence_of_completeness(
    progress: StudyProgress,
    comparison: Comparison,
    settings: CompletenessSettings,
    now: datetime,
) -> str | None:
    """Return the evidence that the study is complete, or None while there is none."""
    if comparison is Comparison.EQUAL and progress.has_replaced:
        # A study that is sent again, corrected, has the right counts from its first instance on.
        comparison = Comparison.UNKNOWN
    if comparison is Comparison.EQUAL:
        return PACS_COUNTS
    if progress.running_associations:
        return None
    if progress.last_association_end == "released" and comparison is Comparison.UNKNOWN:
        quiet_since, quiet_time_s = progress.study.last_received_at, settings.quiet_time_s
        evidence = QUIET_TIME
    else:
        quiet_since = max(progress.study.last_received_at, _last_end(progress))
        quiet_time_s = max(settings.quiet_time_after_abort_s, settings.quiet_time_s)
        evidence = QUIET_TIME_AFTER_ABORT
    if now - quiet_since < timedelta(seconds=quiet_time_s):
        return None
    if comparison is Comparison.MORE:
        return f"{QUIET_TIME} (the PACS has more instances than have come)"
    return evidence


def _last_end(progress: StudyProgress) -> datetime:
    return progress.last_association_ended_at or progress.study.last_received_at


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """One C-FIND about one study: what had come then, and when to ask again."""

    received: Mapping[str, int]
    answer: Future[PacsCounts | None]
    ask_again_at: datetime
    back_off: timedelta


class Completeness:
    """Looks at all open studies and marks as ready those that are complete.

    `ask_counts` is called in threads of its own, at most four at once; `check` waits for
    answers no longer than `find_timeout_s` in all.
    """

    def __init__(self, settings: Settings, db: Database, ask_counts: AskCounts) -> None:
        self._settings = settings
        self._db = db
        self._ask_counts = ask_counts
        self._inquiries: dict[str, _Inquiry] = {}
        self._threads = ThreadPoolExecutor(_ASKING_THREADS, thread_name_prefix="find-counts")

    def check(self, now: datetime) -> tuple[str, ...]:
        """Mark studies as ready and return their UIDs."""
        open_studies = studies.open_studies(self._db)
        self._forget_all_but({_uid(progress) for progress in open_studies})
        asked = [inquiry for progress in open_studies if (inquiry := self._ask(progress, now))]
        if asked:
            timeout_s = self._settings.completeness.find_timeout_s
            wait([inquiry.answer for inquiry in asked], timeout=timeout_s)
        return tuple(
            _uid(progress) for progress in open_studies if self._mark_if_complete(progress, now)
        )

    def close(self) -> None:
        """Ask nobody any more."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _mark_if_complete(self, progress: StudyProgress, now: datetime) -> bool:
        comparison = self._comparison(progress)
        evidence = evidence_of_completeness(progress, comparison, self._settings.completeness, now)
        if evidence is None:
            return False
        is_ready = studies.mark_ready(
            self._db,
            _uid(progress),
            generation=progress.study.generation,
            last_received_at=progress.study.last_received_at,
            evidence=evidence,
            now=now,
        )
        if is_ready:
            _log.info("study_complete", study=uid_tag(_uid(progress)), evidence=evidence)
        return is_ready

    def _comparison(self, progress: StudyProgress) -> Comparison:
        inquiry = self._inquiries.get(_uid(progress))
        if inquiry is None or inquiry.received != progress.series_counts:
            return Comparison.UNKNOWN
        own_series = studies.own_series_of_study(self._db, _uid(progress))
        return compare(_answer(inquiry), progress.series_counts, own_series)

    def _ask(self, progress: StudyProgress, now: datetime) -> _Inquiry | None:
        """Begin a C-FIND if it may tell something new."""
        sender = self._provider(progress.study.calling_ae_title)
        if sender is None or not _is_at_rest(progress, now):
            return None
        former = self._inquiries.get(_uid(progress))
        back_off = _FIRST_BACK_OFF
        if former and former.received == progress.series_counts:
            if now < former.ask_again_at or not former.answer.done():
                return None
            back_off = min(former.back_off * 2, _LONGEST_BACK_OFF)
        answer = self._threads.submit(self._ask_pacs, sender, _uid(progress))
        inquiry = _Inquiry(dict(progress.series_counts), answer, now + back_off, back_off)
        self._inquiries[_uid(progress)] = inquiry
        return inquiry

    def _ask_pacs(self, sender: SenderSettings, study_instance_uid: str) -> PacsCounts | None:
        """Ask in a thread of the pool; a PACS that gives no answer gives no evidence."""
        try:
            return self._ask_counts(
                sender,
                study_instance_uid,
                calling_ae_title=self._settings.node.ae_title,
                timeout_s=self._settings.completeness.find_timeout_s,
            )
        except CountsUnavailable as error:
            _log.warning("counts_unavailable", pacs=sender.ae_title, reason=str(error))
        except Exception:  # noqa: BLE001 -- the thread's edge; the quiet time decides instead
            _log.error("counts_failed", pacs=sender.ae_title, exc_info=True)
        return None

    def _provider(self, ae_title: str) -> SenderSettings | None:
        for sender in self._settings.receive.senders:
            if sender.ae_title == ae_title and sender.find_host is not None:
                return sender
        return None

    def _forget_all_but(self, open_uids: Set[str]) -> None:
        for uid in set(self._inquiries) - open_uids:
            self._inquiries.pop(uid).answer.cancel()


def _is_at_rest(progress: StudyProgress, now: datetime) -> bool:
    """Tell whether asking is worth it: an association has ended, and nothing comes just now."""
    return (
        progress.last_association_end is not None
        and now - progress.study.last_received_at >= _SETTLE_TIME
    )


def _answer(inquiry: _Inquiry) -> PacsCounts | None:
    if not inquiry.answer.done() or inquiry.answer.cancelled():
        return None
    return inquiry.answer.result()


def _uid(progress: StudyProgress) -> str:
    return progress.study.header.study_instance_uid
