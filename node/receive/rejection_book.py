"""Callers that were turned away: counted all, told in log and audit trail at a bearable rate.

An address that knocks a thousand times a second, under a title of its own each time, fills
neither disk nor memory: the counts are bounded here and in storage, and lines are rationed for
each address and over all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address, ip_network

import structlog

from node.receive.admission import Caller
from storage.audit import record
from storage.database import Database
from storage.event_records import AuditRecord
from storage.rejections import OTHERS, RejectionCount, add_rejections

MOST_PENDING = 500
"""Different callers that are counted one by one between two writes."""
MOST_ADDRESSES = 1000
"""Addresses whose lines are rationed one by one; the longest silent is forgotten first."""
_MOST_PENDING_LINES = 100
_LINES_OF_ADDRESS = 5.0
_LINES_OF_ALL = 60.0
_LINES_PER_MINUTE = 1.0
_LINES_PER_MINUTE_OF_ALL = 20.0
_IPV6_SITE_BITS = 64

_log = structlog.get_logger()


class _Ration:
    """So many lines at once, and so many a minute."""

    def __init__(self, at_once: float, per_minute: float, now: datetime) -> None:
        self._at_once = self._left = at_once
        self._per_minute = per_minute
        self._at = now
        self.withheld = 0

    def has_line(self, now: datetime) -> bool:
        """Whether one line may be written now."""
        minutes = max(0.0, (now - self._at).total_seconds() / 60)
        self._left = min(self._at_once, self._left + minutes * self._per_minute)
        self._at = now
        return self._left >= 1

    def take(self) -> None:
        """Use one line."""
        self._left -= 1


class RejectionBook:
    """Takes note of rejections from any thread, and writes them when it is asked to."""

    def __init__(
        self, db: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._db = db
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, str], RejectionCount] = {}
        self._lines: deque[AuditRecord] = deque(maxlen=_MOST_PENDING_LINES)
        self._rations: OrderedDict[str, _Ration] = OrderedDict()
        self._ration_of_all = _Ration(_LINES_OF_ALL, _LINES_PER_MINUTE_OF_ALL, clock())

    def note(self, reason: str, caller: Caller) -> None:
        """Count one rejection, and tell it where the ration allows; touches no disk."""
        with self._lock:
            now = self._clock()
            self._count(reason, caller.calling_ae_title, caller.address, now)
            withheld = self._take_line(caller.address, now)
            if withheld is None:
                return
            detail = {
                "address": caller.address,
                "called_ae_title": caller.called_ae_title,
                "reason": reason,
                "not_told_before": str(withheld),
            }
            self._lines.append(
                AuditRecord(now, "association_rejected", "failure", caller.calling_ae_title, detail)
            )
        _log.warning(
            "association_rejected",
            reason=reason,
            calling_ae_title=caller.calling_ae_title,
            called_ae_title=caller.called_ae_title,
            address=caller.address,
            not_told_before=withheld,
        )

    def write(self) -> None:
        """Write what was noted since the last time.

        Raises:
            StorageError: it could not be written; all of it is kept for the next time.
        """
        with self._lock:
            counts, self._counts = self._counts, {}
        try:
            if counts:
                add_rejections(self._db, counts.values())
        except BaseException:
            self._put_back(counts)
            raise
        self._write_lines()

    def _write_lines(self) -> None:
        while True:
            with self._lock:
                if not self._lines:
                    return
                line = self._lines[0]
            record(self._db, line)
            with self._lock:
                if self._lines and self._lines[0] is line:
                    self._lines.popleft()

    def _put_back(self, counts: dict[tuple[str, str, str], RejectionCount]) -> None:
        with self._lock:
            newer, self._counts = self._counts, counts
            for key, count in newer.items():
                self._add(key, count)

    def _count(self, reason: str, title: str, address: str, now: datetime) -> None:
        self._add((reason, title, address), RejectionCount(reason, title, address, 1, now, now))

    def _add(self, key: tuple[str, str, str], count: RejectionCount) -> None:
        if key not in self._counts and len(self._counts) >= MOST_PENDING:
            key = (count.reason, OTHERS, OTHERS)
            count = replace(count, calling_ae_title=OTHERS, address=OTHERS)
        known = self._counts.get(key)
        if known is not None:
            total = known.count + count.count
            count = replace(known, count=total, last_at=max(known.last_at, count.last_at))
        self._counts[key] = count

    def _take_line(self, address: str, now: datetime) -> int | None:
        """Return how many lines of this address were withheld before; None: withhold this, too."""
        ration = self._ration(_site(address), now)
        if not (ration.has_line(now) and self._ration_of_all.has_line(now)):
            ration.withheld += 1
            return None
        ration.take()
        self._ration_of_all.take()
        withheld, ration.withheld = ration.withheld, 0
        return withheld

    def _ration(self, site: str, now: datetime) -> _Ration:
        ration = self._rations.pop(site, None)
        if ration is None:
            ration = _Ration(_LINES_OF_ADDRESS, _LINES_PER_MINUTE, now)
            while len(self._rations) >= MOST_ADDRESSES:
                self._rations.popitem(last=False)
        self._rations[site] = ration
        return ration


def _site(address: str) -> str:
    """Return what stands for one neighbour: of IPv6, each has a whole /64 of addresses."""
    try:
        parsed = ip_address(address.split("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, _IPV6_SITE_BITS), strict=False))
    return str(parsed)
