"""Is a study complete? Evidence is weighed, and what decided is written down.

DICOM has no end of a study. In this order:

1. Somebody announced instances that have not come, or a performed procedure step is in progress:
   not complete, for `list_wait_s` at the most. A sender may list what it will never send us.
   What has come and is in quarantine is not waited for, and is no proof either.
2. Lists (storage commitment, availability, performed step) name all that is here, and all that
   they name is here: complete at once, evidence `instance_list`.
3. The PACS was asked and counts exactly what has come: complete at once, `pacs_counts`.
4. An association that touched the study still runs: not complete.
5. All were released, some pipeline has all its inputs, and no slice is missing between others:
   complete after `quiet_time_without_gaps_s`, `slices_without_gaps`.
6. All were released: complete after `quiet_time_s` without an instance, `quiet_time`.
7. One was aborted or lost, or the PACS counts more: the same after `quiet_time_after_abort_s`,
   because senders come back, and because a PACS may count what it will never send.

2, 3 and 5 say that everything is here. While instances are sent again with another content, that
proves nothing: they count only when all have come anew.

A late instance is no disaster: it makes a new generation, and the result is superseded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from config.settings import CompletenessSettings, Settings
from node.count_inquiries import SETTLE_TIME_S, AskCounts, CountInquiries
from node.counts_comparison import Comparison, compare
from node.quiet_clock import Moment, QuietClock
from storage import studies
from storage.database import Database
from storage.dicom_records import StudyRecord
from storage.instance_files import uid_tag
from storage.studies import StudyProgress

INSTANCE_LIST = "instance_list"
PACS_COUNTS = "pacs_counts"
SLICES_WITHOUT_GAPS = "slices_without_gaps"
QUIET_TIME = "quiet_time"
QUIET_TIME_AFTER_ABORT = "quiet_time_after_abort"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Quiet:
    """Seconds since the last instance, and since anything happened, an abort included."""

    instance_s: float
    anything_s: float


def evidence_of_completeness(
    progress: StudyProgress,
    comparison: Comparison,
    settings: CompletenessSettings,
    quiet: Quiet,
    covered_pipeline: Callable[[], str | None] = lambda: None,
) -> str | None:
    """Return the evidence that the study is complete, or None while there is none.

    `covered_pipeline` names a pipeline that has all its inputs without a gap; it is asked only
    when that would decide.
    """
    waits = progress.lists.waits_for_more
    if waits and quiet.instance_s < settings.list_wait_s:
        return None
    proof = None if progress.is_resent else _proof(progress, comparison)
    if proof is None and progress.running_associations:
        return None
    evidence = proof or _evidence_of_silence(progress, comparison, settings, quiet)
    if evidence is None and _may_be_covered(progress, comparison, settings, quiet):
        covered = covered_pipeline()
        evidence = f"{SLICES_WITHOUT_GAPS} (for {covered})" if covered else None
    lacks = _missing(progress)
    return f"{evidence} ({lacks})" if evidence and lacks else evidence


def _proof(progress: StudyProgress, comparison: Comparison) -> str | None:
    if progress.lists.is_proof:
        return f"{INSTANCE_LIST} ({', '.join(progress.lists.sources)})"
    return PACS_COUNTS if comparison is Comparison.EQUAL else None


def _missing(progress: StudyProgress) -> str:
    if progress.lists.missing:
        return f"{progress.lists.missing} listed instances have not come"
    if progress.lists.quarantined:
        return f"{progress.lists.quarantined} listed instances are in quarantine"
    return "a performed procedure step has not ended" if progress.lists.open_steps else ""


def _may_be_covered(
    progress: StudyProgress, comparison: Comparison, settings: CompletenessSettings, quiet: Quiet
) -> bool:
    return (
        _is_clean(progress, comparison)
        and not progress.is_resent
        and not progress.lists.waits_for_more
        and quiet.instance_s >= settings.quiet_time_without_gaps_s
    )


def _is_clean(progress: StudyProgress, comparison: Comparison) -> bool:
    return progress.last_association_end == "released" and comparison is not Comparison.MORE


def _evidence_of_silence(
    progress: StudyProgress, comparison: Comparison, settings: CompletenessSettings, quiet: Quiet
) -> str | None:
    if _is_clean(progress, comparison):
        return QUIET_TIME if quiet.instance_s >= settings.quiet_time_s else None
    quiet_time_s = max(settings.quiet_time_after_abort_s, settings.quiet_time_s)
    if quiet.anything_s < quiet_time_s:
        return None
    if comparison is Comparison.MORE:
        return f"{QUIET_TIME} (the PACS has more instances than have come)"
    return QUIET_TIME_AFTER_ABORT


class Completeness:
    """Looks at all open studies and marks as ready those that are complete.

    A look waits for nobody: `ask_counts` is called in threads of its own, and `on_answer` when
    another look is worth it. What is kept in memory is only what can be asked or read again.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        ask_counts: AskCounts,
        *,
        on_answer: Callable[[], None] = lambda: None,
        covered_pipeline: Callable[[StudyRecord], str | None] = lambda _: None,
    ) -> None:
        self._settings = settings.completeness
        self._db = db
        self._inquiries = CountInquiries(settings, ask_counts, on_answer)
        self._clock = QuietClock()
        self._covered_pipeline = covered_pipeline
        self._covered: dict[str, tuple[datetime, str | None]] = {}
        self._look_again_s: float | None = None
        self._open_count = 0

    @property
    def open_count(self) -> int:
        """How many studies the last look found open, those included that it found complete."""
        return self._open_count

    @property
    def look_again_s(self) -> float | None:
        """In how many seconds the last look wants another one, whatever happens till then."""
        return self._look_again_s

    def check(self, moment: Moment) -> tuple[str, ...]:
        """Mark studies as ready and return their UIDs."""
        open_studies = studies.open_studies(self._db, partial(self._wants_counts, moment))
        self._open_count = len(open_studies)
        self._look_again_s = None
        self._forget_all_but({_uid(progress) for progress in open_studies})
        return tuple(
            _uid(progress) for progress in open_studies if self._mark_if_complete(progress, moment)
        )

    @property
    def questions(self) -> int:
        """How many questions to PACS are under way."""
        return self._inquiries.under_way

    def close(self) -> None:
        """Ask nobody any more."""
        self._inquiries.close()

    def _wants_counts(self, moment: Moment, study: StudyRecord) -> bool:
        uid, last = study.header.study_instance_uid, study.last_received_at
        quiet_s = self._clock.elapsed_s(uid, "instance", last, moment)
        return self._inquiries.wants_counts(study, quiet_s)

    def _mark_if_complete(self, progress: StudyProgress, moment: Moment) -> bool:
        quiet = self._quiet(progress, moment)
        evidence = evidence_of_completeness(
            progress,
            self._comparison(progress),
            self._settings,
            quiet,
            lambda: self._covered_by(progress),
        )
        if evidence is None:
            self._ask(progress, quiet, moment)
            return False
        waited_s = round(quiet.instance_s, 3)
        is_ready = studies.mark_ready(
            self._db,
            _uid(progress),
            generation=progress.study.generation,
            last_received_at=progress.study.last_received_at,
            evidence=evidence,
            waited_s=waited_s,
            now=moment.wall,
        )
        if is_ready:
            tag = uid_tag(_uid(progress))
            _log.info("study_complete", study=tag, evidence=evidence, waited_s=waited_s)
        return is_ready

    def _quiet(self, progress: StudyProgress, moment: Moment) -> Quiet:
        uid, last = _uid(progress), progress.study.last_received_at
        anything = max(last, progress.last_association_ended_at or last)
        return Quiet(
            self._clock.elapsed_s(uid, "instance", last, moment),
            self._clock.elapsed_s(uid, "anything", anything, moment),
        )

    def _ask(self, progress: StudyProgress, quiet: Quiet, moment: Moment) -> None:
        if progress.lists.waits_for_more:
            return
        self._inquiries.ask(progress, quiet.instance_s, moment.monotonic_s)
        settles_in_s = SETTLE_TIME_S - quiet.instance_s
        if settles_in_s > 0:
            self._look_again_s = min(settles_in_s, self._look_again_s or settles_in_s)

    def _comparison(self, progress: StudyProgress) -> Comparison:
        counts = self._inquiries.counts(progress)
        if counts is None:
            return Comparison.UNKNOWN
        own_series = studies.own_series_of_study(self._db, _uid(progress))
        return compare(counts, progress.series_counts, own_series, _listed_series(progress))

    def _covered_by(self, progress: StudyProgress) -> str | None:
        """Return the covered pipeline; the files of one state of a study are read once."""
        uid, last = _uid(progress), progress.study.last_received_at
        known = self._covered.get(uid)
        if known is None or known[0] != last:
            known = last, self._covered_pipeline(progress.study)
            self._covered[uid] = known
        return known[1]

    def _forget_all_but(self, open_uids: set[str]) -> None:
        self._inquiries.forget_all_but(open_uids)
        self._clock.forget_all_but(open_uids)
        for uid in set(self._covered) - open_uids:
            del self._covered[uid]


def _listed_series(progress: StudyProgress) -> frozenset[str]:
    """Return the series that lists name in whole."""
    if progress.lists.waits_for_more or progress.lists.quarantined or not progress.lists.sources:
        return frozenset()
    return frozenset(progress.series_counts) - frozenset(progress.lists.unlisted)


def _uid(progress: StudyProgress) -> str:
    return progress.study.header.study_instance_uid
