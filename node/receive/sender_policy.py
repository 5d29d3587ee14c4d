"""What one sender may send and how fast: asked at negotiation, and for each instance.

Pure: no socket, no database, no clock of its own. A sender that sends faster than it may is not
refused but slowed down: who asks sleeps for as long as it is told before it reads on, or answers,
and TCP holds the sender back. All associations of a sender share one allowance.
"""

from __future__ import annotations

import threading

from config.settings import ReceiveSettings, SenderSettings
from config.sop_classes import is_among

MIB = 2**20
LONGEST_DELAY_S = 10.0
"""Longest single delay: more, and a sender takes the node for dead."""
_BURST_S = 1.0
_LONGEST_DEBT_S = 60.0


class Allowance:
    """So many units a second, and what the last second left unused.

    `take` never refuses: it books the units and says how long to wait for them.
    """

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._level = 0.0
        self._at_s: float | None = None

    def take(self, amount: float, now_s: float) -> float:
        """Book `amount` at `now_s` (monotonic); return the seconds to wait before going on."""
        if self._per_s is None:
            return 0.0
        elapsed_s = _BURST_S if self._at_s is None else max(0.0, now_s - self._at_s)
        self._at_s = now_s
        level = min(self._per_s * _BURST_S, self._level + self._per_s * elapsed_s) - amount
        # A debt that many associations make together is worked off, but not for hours.
        self._level = max(level, -self._per_s * _LONGEST_DEBT_S)
        return min(LONGEST_DELAY_S, max(0.0, -self._level / self._per_s))


class _Usage:
    """What all associations of one sender use together."""

    def __init__(self, sender: SenderSettings, processes: int) -> None:
        rate, mib_per_s = sender.max_instances_per_s, sender.max_mib_per_s
        self.instances = Allowance(None if rate is None else rate / processes)
        self.data_bytes = Allowance(None if mib_per_s is None else mib_per_s * MIB / processes)
        self.associations = 0
        most = sender.max_associations
        self.most_associations = None if most is None else max(1, most // processes)

    @property
    def is_exhausted(self) -> bool:
        """Whether one association more would be too many."""
        return self.most_associations is not None and self.associations >= self.most_associations


class SenderPolicy:
    """The limits of all senders of one receiver process; safe to ask from many threads.

    With several receiver `processes` on one port, each lets its share pass.
    """

    def __init__(self, receive: ReceiveSettings, *, processes: int = 1) -> None:
        self._senders = {sender.ae_title: sender for sender in reversed(receive.senders)}
        self._usage = {title: _Usage(item, processes) for title, item in self._senders.items()}
        self._lock = threading.Lock()

    def begin(self, calling_ae_title: str) -> AssociationPolicy | None:
        """Count an association of an admitted sender; None where it has too many already.

        Who is not listed (`allow_any_sender`) has no limits of its own.
        """
        sender = self._senders.get(calling_ae_title)
        usage = self._usage.get(calling_ae_title)
        if usage is None:
            return AssociationPolicy(None, None, self._lock)
        with self._lock:
            if usage.is_exhausted:
                return None
            usage.associations += 1
        return AssociationPolicy(sender, usage, self._lock)


class AssociationPolicy:
    """What one association may bring, and how fast; `end` it when it is over."""

    def __init__(
        self, sender: SenderSettings | None, usage: _Usage | None, lock: threading.Lock
    ) -> None:
        self._sender = sender
        self._usage = usage
        self._lock = lock
        self._has_ended = False

    @property
    def max_instance_bytes(self) -> int | None:
        """Size of a data set, as it comes, above which it is refused (0x0124); None: no limit."""
        return None if self._sender is None else self._sender.max_instance_mib * MIB

    def allows(self, sop_class_uid: str) -> bool:
        """Whether instances of this SOP Class are taken: else its contexts are not accepted."""
        sender = self._sender
        if sender is None or not sender.sop_classes:
            return True
        return is_among(sop_class_uid, sender.sop_classes)

    def delay_after_bytes(self, count: int, now_s: float) -> float:
        """Book bytes of a data set; return the seconds to wait before reading on."""
        if self._usage is None:
            return 0.0
        with self._lock:
            return self._usage.data_bytes.take(count, now_s)

    def delay_after_instance(self, now_s: float) -> float:
        """Book one instance; return the seconds to wait before it is answered."""
        if self._usage is None:
            return 0.0
        with self._lock:
            return self._usage.instances.take(1, now_s)

    def end(self) -> None:
        """Count the association no longer; doing it again changes nothing."""
        with self._lock:
            if self._usage is not None and not self._has_ended:
                self._usage.associations -= 1
            self._has_ended = True
