"""Asks PACS for counts: in threads of its own, and no more often than the answer may matter.

A question costs the PACS two queries. A study is asked about when nothing comes just now; while
an association of it runs, or while the answer stays the same, less and less often; once all its
associations have ended, at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import structlog

from config.settings import SenderSettings, Settings
from node.errors import CountsUnavailable
from node.find_counts import PacsCounts
from storage.dicom_records import StudyRecord
from storage.studies import StudyProgress

# A PACS that routes while it still receives has, between two instances, just what we have.
SETTLE_TIME_S = 0.2
_FIRST_BACK_OFF_S = 5.0
_FIRST_BACK_OFF_WHILE_RUNNING_S = 1.0
_LONGEST_BACK_OFF_S = 60.0
_ASKING_THREADS = 4

_log = structlog.get_logger()


class AskCounts(Protocol):
    """Asks a PACS for counts; `node.pacs_query.ask_pacs` does it by C-FIND or QIDO-RS."""

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


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """One question about one study: what had come then, and when to ask again."""

    generation: int
    received: Mapping[str, int]
    is_running: bool
    answer: Future[PacsCounts | None]
    ask_again_at_s: float
    back_off_s: float


class CountInquiries:
    """At most one question a study is under way; `on_answer` is called, in a thread, at its end."""

    def __init__(
        self, settings: Settings, ask_counts: AskCounts, on_answer: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._ask_counts = ask_counts
        self._on_answer = on_answer
        self._inquiries: dict[str, _Inquiry] = {}
        self._threads = ThreadPoolExecutor(_ASKING_THREADS, thread_name_prefix="find-counts")

    @property
    def under_way(self) -> int:
        """How many questions have no answer yet."""
        return sum(not inquiry.answer.done() for inquiry in tuple(self._inquiries.values()))

    def wants_counts(self, study: StudyRecord, quiet_s: float) -> bool:
        """Whether `counts` or `ask` compares with what has come of a study."""
        if study.header.study_instance_uid in self._inquiries:
            return True
        return quiet_s >= SETTLE_TIME_S and self._provider(study.calling_ae_title) is not None

    def counts(self, progress: StudyProgress) -> PacsCounts | None:
        """Return the answer about just what has come, or None while there is none."""
        inquiry = self._inquiries.get(_uid(progress))
        if inquiry is None or not _is_same_state(inquiry, progress):
            return None
        if not inquiry.answer.done() or inquiry.answer.cancelled():
            return None
        return inquiry.answer.result()

    def ask(self, progress: StudyProgress, quiet_s: float, monotonic_s: float) -> None:
        """Begin a question if it may tell something new."""
        sender = self._provider(progress.study.calling_ae_title)
        if sender is None or quiet_s < SETTLE_TIME_S:
            return
        is_running = bool(progress.running_associations)
        former = self._inquiries.get(_uid(progress))
        if former and not _may_ask_again(former, progress, monotonic_s):
            return
        back_off_s = _back_off_s(former, progress)
        answer = self._threads.submit(self._ask_pacs, sender, _uid(progress))
        self._inquiries[_uid(progress)] = _Inquiry(
            generation=progress.study.generation,
            received=dict(progress.series_counts),
            is_running=is_running,
            answer=answer,
            ask_again_at_s=monotonic_s + back_off_s,
            back_off_s=back_off_s,
        )
        answer.add_done_callback(lambda _: self._on_answer())

    def forget_all_but(self, open_uids: Set[str]) -> None:
        """Drop questions about studies that are no longer open."""
        for uid in set(self._inquiries) - open_uids:
            self._inquiries.pop(uid).answer.cancel()

    def close(self) -> None:
        """Ask nobody any more."""
        self._threads.shutdown(wait=True, cancel_futures=True)

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
            if sender.ae_title == ae_title and (sender.find_host or sender.qido_url):
                return sender
        return None


def _is_same_state(inquiry: _Inquiry, progress: StudyProgress) -> bool:
    return (
        inquiry.generation == progress.study.generation
        and inquiry.received == progress.series_counts
    )


def _may_ask_again(former: _Inquiry, progress: StudyProgress, monotonic_s: float) -> bool:
    if not former.answer.done():
        return False
    has_ended = former.is_running and not progress.running_associations
    if has_ended or (not former.is_running and not _is_same_state(former, progress)):
        return True
    return monotonic_s >= former.ask_again_at_s


def _back_off_s(former: _Inquiry | None, progress: StudyProgress) -> float:
    """Return the wait after this question: growing while the study runs or nothing changes."""
    is_running = bool(progress.running_associations)
    first_s = _FIRST_BACK_OFF_WHILE_RUNNING_S if is_running else _FIRST_BACK_OFF_S
    if former is None or former.is_running != is_running:
        return first_s
    if not is_running and not _is_same_state(former, progress):
        return first_s
    return min(former.back_off_s * 2, _LONGEST_BACK_OFF_S)


def _uid(progress: StudyProgress) -> str:
    return progress.study.header.study_instance_uid
