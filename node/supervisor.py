"""Keeps a child process alive: starts it, starts it again when it dies, ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from node.wake_pipe import WakeWriter

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before the next start; a child that lived `steady_s` starts afresh."""

    first_s: float = 1.0
    longest_s: float = 60.0
    steady_s: float = 60.0

    def delay_s(self, deaths_in_a_row: int) -> float:
        """Seconds to wait after the given number of early deaths: doubling, bounded."""
        return min(self.first_s * 2.0 ** (min(deaths_in_a_row, 32) - 1), self.longest_s)


def worker_command(config_path: Path | None) -> list[str]:
    """Command line of a worker process that belongs to this process."""
    command = [sys.executable, "-m", "node", "worker", "--parent", str(os.getpid())]
    return [*command, "--config", str(config_path)] if config_path else command


class Supervisor:
    """One child process, restarted with back-off for as long as this object is started.

    `on_death` is called with its process id, in the supervising thread, after every end of a
    child that nobody asked for: whatever the child held can be given to others then. `name` says
    in the log what the child is; `keep_open` are the descriptors that it is born with.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        on_death: Callable[[int], None],
        back_off: BackOff | None = None,
        name: str = "worker",
        keep_open: Sequence[int] = (),
    ) -> None:
        self._command = list(command)
        self._on_death = on_death
        self._name = name
        self._keep_open = tuple(keep_open)
        self._back_off = back_off or BackOff()
        self._deaths_in_a_row = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        # One thread forks every child and outlives them all; see node.parent_watch.
        self._thread = threading.Thread(
            target=self._supervise, name=f"{name}-supervisor", daemon=True
        )

    @property
    def child_pid(self) -> int | None:
        """Process id of the running child."""
        with self._lock:
            return self._child.pid if self._child else None

    def kill_child(self, pid: int) -> None:
        """End the running child at once, if it still is the one of this process id."""
        with self._lock:
            if self._child and self._child.pid == pid:
                self._child.kill()

    def start(self) -> None:
        """Start the child and watch over it."""
        self._thread.start()

    def wake(self) -> None:
        """Tell the child that there is work: a byte on its standard input."""
        with self._lock:
            if self._child and self._child.stdin:
                WakeWriter(self._child.stdin.fileno()).wake()

    def ask_to_stop(self) -> None:
        """Send SIGTERM and start no child any more; returns at once."""
        self._stopping.set()
        with self._lock:
            if self._child:
                self._child.terminate()

    def stop(self, grace_s: float) -> bool:
        """End the child; False when it had to be killed after `grace_s`."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(max(0.0, grace_s))
        if not self._thread.is_alive():
            return True
        with self._lock:
            if self._child:
                self._child.kill()
        self._thread.join()
        return False

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            try:
                self._see_through_one_life()
            except Exception:  # the thread's outermost edge; the next child is started
                log.error(f"{self._name}_death_not_handled", exc_info=True)
            self._stopping.wait(self._back_off.delay_s(self._deaths_in_a_row))

    def _see_through_one_life(self) -> None:
        started = time.monotonic()
        pid, returncode = self._run_once()
        if self._stopping.is_set():
            return
        lived_s = time.monotonic() - started
        is_early = lived_s < self._back_off.steady_s
        self._deaths_in_a_row = self._deaths_in_a_row + 1 if is_early else 1
        log.error(
            f"{self._name}_died",
            returncode=returncode,
            lived_s=round(lived_s, 1),
            restart_s=self._back_off.delay_s(self._deaths_in_a_row),
        )
        self._on_death(pid)

    def _run_once(self) -> tuple[int, int | None]:
        """Return process id (0: there was none) and return code."""
        with self._lock:
            if self._stopping.is_set():
                return 0, None
            try:
                child = self._child = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, bufsize=0, pass_fds=self._keep_open
                )
            except OSError as error:  # no memory or no process left: try again later
                log.error(f"{self._name}_not_started", error=type(error).__name__)
                return 0, None
        log.info(f"{self._name}_started", **{f"{self._name}_pid": child.pid})
        returncode = child.wait()
        with self._lock:
            if child.stdin:
                child.stdin.close()
            self._child = None
        return child.pid, returncode
