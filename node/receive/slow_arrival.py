"""An instance that is long on its way holds its study, as one that has come does.

An association is tied to a study by the rows of what it brought. Over a slow line, the first
object of an association may take minutes; the quiet time would run out while it comes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from node.receive.arriving_instance import ArrivingInstance
from node.receive.message_stream import QUICK_S

LONG_S = QUICK_S
"""After so long, and again each time, the study is looked for; most instances never get there."""


class SlowArrival:
    """Calls `tell` with the Study Instance UID of a slow instance, until it returns True."""

    def __init__(self, tell: Callable[[str], bool]) -> None:
        self._tell = tell
        self._look_at_s = time.monotonic() + LONG_S

    def is_due(self) -> bool:
        """Whether it is time to look at what has come; asked whenever something has come."""
        return time.monotonic() >= self._look_at_s

    def look(self, arriving: ArrivingInstance) -> None:
        """Tell, if it is time and the study is known by now."""
        now_s = time.monotonic()
        if now_s < self._look_at_s:
            return
        uid = arriving.study_instance_uid
        is_told = uid is not None and self._tell(uid)
        self._look_at_s = math.inf if is_told else now_s + LONG_S
