"""Reports that were told: does the PACS still list their study under the same patient and order?

It is asked again for some days, ever more rarely. What was told under another identity than that of
now is shown and logged for a person: a report that others may have read is not moved by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from config.settings import Settings
from node.clock import Clock, utc_now
from node.identity_check import IdentityCheck
from storage.database import Database
from storage.identity import ToldReport, outdated_keywords, reports_told_since
from storage.instance_files import uid_tag
from storage.jobs import finished_job

EVERY_S: Final = 900.0
_HOUR: Final = timedelta(hours=1)

log = structlog.get_logger()


class IdentityRecheck:
    """Asks 1, 2, 4, 8, ... hours after the last report on a study was told."""

    def __init__(self, settings: Settings, db: Database, clock: Clock = utc_now) -> None:
        self._check = IdentityCheck(settings, db)
        self._db = db
        self._clock = clock
        hours = (each.identity_recheck_h for each in settings.receive.senders)
        self._longest = max(hours, default=0) * _HOUR
        self._asked: dict[str, int] = {}

    def ask_due(self) -> None:
        """Ask about each study that is due.

        Raises:
            StorageError: the database is away; the next round asks.
        """
        now = self._clock()
        studies: dict[str, list[ToldReport]] = defaultdict(list)
        for report in reports_told_since(self._db, now - self._longest - _HOUR):
            studies[report.study_instance_uid].append(report)
        self._asked = {uid: hours for uid, hours in self._asked.items() if uid in studies}
        for study_uid, reports in studies.items():
            hours = _last_due(now - max(each.told_at for each in reports))
            if hours and self._asked.get(study_uid) != hours:
                self._asked[study_uid] = hours
                self._ask(reports, hours)

    def _ask(self, reports: Sequence[ToldReport], hours: int) -> None:
        finished = finished_job(self._db, reports[-1].job_id)
        sender = self._check.sender_of(finished)
        if sender is None or hours > sender.identity_recheck_h:
            return
        changes = self._check.changes(sender, finished)
        for report in reports:
            changed = outdated_keywords(report.identity, changes)
            if changed:
                log.error(
                    "told_under_former_identity",
                    delivery_id=report.delivery_id,
                    destination=report.destination,
                    changed=", ".join(changed),
                    study=uid_tag(report.study_instance_uid),
                )


def _last_due(age: timedelta) -> int:
    """The largest of 1, 2, 4, ... hours that have passed; 0 before the first."""
    hours = max(0, age // _HOUR)
    return 1 << (hours.bit_length() - 1) if hours else 0
