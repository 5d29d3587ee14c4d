"""A child that must not outlive its parent.

An orphaned worker would hold a model in memory and a job under its lease while the restarted
node starts a second one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

import structlog

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 1.0

log = structlog.get_logger()


def die_with_parent(parent_pid: int) -> None:
    """End this process as soon as `parent_pid` is gone.

    Linux delivers SIGKILL at once (prctl(2), PR_SET_PDEATHSIG; it counts as parent the *thread*
    that forked, so that thread must live on). A watching thread does the same, a second later,
    where there is no such call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    watch = threading.Thread(target=_watch, args=(parent_pid,), name="parent-watch", daemon=True)
    watch.start()


def _watch(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_LOOK_EVERY_S)
    log.error("parent_gone")
    # Not sys.exit: the main thread may be deep inside a model and would not notice for minutes.
    os._exit(1)
