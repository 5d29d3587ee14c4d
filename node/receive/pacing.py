"""Holds a sender back that is faster than it may be (`receive.senders[].max_mib_per_s`, ...).

Nothing is refused for speed: between two fragments, and before an answer, we wait. What the
sender has under way fills TCP's windows, and then the sender waits, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from node.receive.gathered_blocks import ReadInto
from node.receive.message_stream import MessageStream
from node.receive.sender_policy import AssociationPolicy

_WORTH_WAITING_S = 0.005


class Pace:
    """The pace of one association; `pause` waits, and may return early when the node stops."""

    def __init__(self, policy: AssociationPolicy, pause: Callable[[float], object]) -> None:
        self._policy = policy
        self._is_paced = policy.is_paced
        self._max_instance_bytes = policy.max_instance_bytes
        self._pause = pause
        self._owed_s = 0.0

    @property
    def max_instance_bytes(self) -> int | None:
        """Size above which an instance is refused; None: no limit."""
        return self._max_instance_bytes

    @property
    def may_wait(self) -> bool:
        """Whether an answer may be held back."""
        return self._is_paced

    def reader(self, messages: MessageStream) -> ReadInto:
        """Return what reads a data set (`MessageStream.read_into`), not faster than it may come."""
        return partial(self._read_into, messages) if self._is_paced else messages.read_into

    def before_answer(self, messages: MessageStream) -> None:
        """Wait until the instance that was received may be answered."""
        if self._is_paced:
            self._wait(self._policy.delay_after_instance(time.monotonic()), messages)

    def _read_into(self, messages: MessageStream, memory: memoryview) -> int:
        # What came last was worked on meanwhile, and begins to count when it came.
        owed_s, self._owed_s = self._owed_s, 0.0
        self._wait(owed_s, messages)
        size = messages.read_into(memory)
        if size:
            self._owed_s = self._policy.delay_after_bytes(size, time.monotonic())
        return size

    def _wait(self, wait_s: float, messages: MessageStream) -> None:
        # A debt too small to wait for is not lost: it adds to the next.
        if wait_s >= _WORTH_WAITING_S:
            messages.excuse(wait_s)
            self._pause(wait_s)
