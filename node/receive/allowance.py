"""So many units a second, for all associations of a sender together, in whatever process.

One number is kept: until when what was taken is paid for, in seconds of the monotonic clock,
which is the same for all processes of a machine. Who takes pays `amount / per_s` seconds from
there on; what was left unused longer than a second ago is lost.
"""

from __future__ import annotations

from node.receive.shared_file import SharedNumber

LONGEST_DELAY_S = 10.0
"""Longest single delay: more, and a sender takes the node for dead."""
_BURST_S = 1.0
_LONGEST_DEBT_S = 60.0
_WORTH_BOOKING_S = 0.02


class Allowance:
    """`take` never refuses: it books the units and says how long to wait for them."""

    def __init__(self, per_s: float | None, paid_until_s: SharedNumber) -> None:
        self._per_s = per_s
        self._paid_until_s = paid_until_s

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._per_s is not None

    @property
    def worth_booking(self) -> float:
        """Units to gather before they are booked: 20 ms of them, so that booking costs nothing."""
        return 0.0 if self._per_s is None else self._per_s * _WORTH_BOOKING_S

    def take(self, amount: float, now_s: float) -> float:
        """Book `amount` at `now_s` (monotonic); return the seconds to wait before going on."""
        if self._per_s is None:
            return 0.0
        cost_s = amount / self._per_s

        def paid(until_s: float) -> float:
            # A debt that many associations make together is worked off, but not for hours.
            return min(max(until_s, now_s - _BURST_S) + cost_s, now_s + _LONGEST_DEBT_S)

        until_s = self._paid_until_s.change(paid)
        return min(LONGEST_DELAY_S, max(0.0, until_s - now_s))
