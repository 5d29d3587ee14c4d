"""How long has nothing come? Sound also when the wall clock is set, forward or back.

Times in the database are wall clock. As long as the process lives, elapsed time is measured by the
monotonic clock from the moment at which a state was first seen; the wall clock only tells how
old that state was then. So a clock that is set ends no waiting too early and prolongs none; only
a clock that is set while the node is down counts, and one set back counts as no time.
"""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks; `monotonic_s` has no meaning outside the process."""

    wall: datetime
    monotonic_s: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(datetime.now(UTC), time.monotonic())


@dataclass(frozen=True, slots=True)
class _Seen:
    since: datetime
    at_s: float
    age_s: float


class QuietClock:
    """Measures, for each study or job, the seconds since a time that the database holds."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def elapsed_s(self, uid: str, what: str, since: datetime, moment: Moment) -> float:
        """Return the seconds since `since`; `what` tells apart several times of one `uid`."""
        seen = self._seen.get((uid, what))
        if seen is None or seen.since != since:
            age_s = max(0.0, (moment.wall - since).total_seconds())
            seen = _Seen(since, moment.monotonic_s, age_s)
            self._seen[uid, what] = seen
        return seen.age_s + moment.monotonic_s - seen.at_s

    def forget_all_but(self, uids: Set[str]) -> None:
        """Drop what is known of those that are no longer open, or do not run any more."""
        for key in [key for key in self._seen if key[0] not in uids]:
            del self._seen[key]
