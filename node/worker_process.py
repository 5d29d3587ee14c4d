"""The process around one worker: who stops it, and whom it must not outlive."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import structlog

from config.settings import Settings
from node.data_directory import make_private
from node.parent_watch import die_with_parent
from node.stop_signals import stop_signals
from node.wake_pipe import STANDARD_INPUT, WakeReader
from node.worker import run_worker

log = structlog.get_logger()


def run_worker_process(settings: Settings, *, parent_pid: int | None) -> None:
    """Work until SIGTERM (or, without a parent, SIGINT); the job in hand is finished first.

    Raises what `node.worker.run_worker` raises.
    """
    if parent_pid is not None:
        die_with_parent(parent_pid)
    make_private(settings.node.data_dir)
    stop, woken = threading.Event(), threading.Event()
    if parent_pid is not None:
        WakeReader(STANDARD_INPUT, woken.set)
    # The work is in a thread of its own: Python runs signal handlers in the main thread, which
    # must not be deep inside a model then.
    with (
        stop_signals(ignore_interrupt=parent_pid is not None) as arrived,
        ThreadPoolExecutor(1, thread_name_prefix="worker") as pool,
    ):
        work = pool.submit(run_worker, settings, stop, woken)
        work.add_done_callback(lambda _: arrived.wake())
        if name := arrived.wait():
            log.info("worker_stopping", signal=name)
        stop.set()
        woken.set()
        work.result()
