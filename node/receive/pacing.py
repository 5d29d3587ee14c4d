"""Holds a sender back that is faster than it may be (`receive.senders[].max_mib_per_s`, ...).

Nothing is refused for speed: between two fragments, and before an answer, we wait. What the
sender has under way fills TCP's windows, and then the sender waits, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from node.receive.message_stream import MessageStream
from node.receive.sender_policy import AssociationPolicy

_WORTH_WAITING_S = 0.005


class Pace:
    """The pace of one association; `pause` waits, and may return early when the node stops."""

    def __init__(self, policy: AssociationPolicy, pause: Callable[[float], object]) -> None:
        self._policy = policy
        self._pause = pause

    @property
    def max_instance_bytes(self) -> int | None:
        """Size above which an instance is refused; None: no limit."""
        return self._policy.max_instance_bytes

    @property
    def may_wait(self) -> bool:
        """Whether an answer may be held back."""
        return self._policy.is_paced

    def data_set(self, messages: MessageStream) -> Iterator[memoryview]:
        """Return the fragments of a data set, not faster than they may come."""
        return self._paced(messages) if self._policy.is_paced else messages.data_set()

    def before_answer(self, messages: MessageStream) -> None:
        """Wait until the instance that was received may be answered."""
        if self._policy.is_paced:
            self._wait(self._policy.delay_after_instance(time.monotonic()), messages)

    def _paced(self, messages: MessageStream) -> Iterator[memoryview]:
        for fragment in messages.data_set():
            wait_s = self._policy.delay_after_bytes(len(fragment), time.monotonic())
            yield fragment
            self._wait(wait_s, messages)

    def _wait(self, wait_s: float, messages: MessageStream) -> None:
        # A debt too small to wait for is not lost: it adds to the next.
        if wait_s >= _WORTH_WAITING_S:
            messages.excuse(wait_s)
            self._pause(wait_s)
