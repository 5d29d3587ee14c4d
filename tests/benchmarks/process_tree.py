"""CPU time and memory of a process and all its descendants, from /proc."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SAMPLE_INTERVAL_S = 0.02
_RESET_PEAK_RSS = "5"

_REST_WINDOW_S = 0.5
_REST_CPU_SHARE = 0.05


def tree(root_pids: tuple[int, ...]) -> tuple[int, ...]:
    """Return the process ids of the roots and of all that descend from them."""
    children: dict[int, list[int]] = {}
    for pid, fields in _all_stats():
        children.setdefault(int(fields[1]), []).append(pid)
    found, waiting = [], list(root_pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, ())
    return tuple(found)


def cpu_s(root_pids: tuple[int, ...]) -> float:
    """Return the CPU seconds of the trees, ended children included once they were waited for."""
    ticks = 0
    for pid in tree(root_pids):
        if fields := _stat(pid):
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_S


def comes_to_rest(root_pids: tuple[int, ...], within_s: float) -> bool:
    """Wait until the trees use under 5 % of one CPU for half a second; False if they do not."""
    until = time.monotonic() + within_s
    used_s = _REST_WINDOW_S
    while used_s >= _REST_WINDOW_S * _REST_CPU_SHARE:
        if time.monotonic() >= until:
            return False
        before_s = cpu_s(root_pids)
        time.sleep(_REST_WINDOW_S)
        used_s = cpu_s(root_pids) - before_s
    return True


def rss_bytes(root_pids: tuple[int, ...], key: str = "VmRSS") -> int:
    """Return the sum of a memory figure of /proc/PID/status over the trees."""
    return sum(_memory_bytes(pid, key) for pid in tree(root_pids))


class PeakMemory:
    """How far the memory of some process trees grows within a `with` block.

    The kernel's own high-water mark of every process (VmHWM, set back at the start) and samples
    of the sum are both taken: the first misses no peak, the second no short-lived child.
    """

    def __init__(self, root_pids: tuple[int, ...]) -> None:
        self.growth_bytes = 0
        self._root_pids = root_pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        for pid in tree(self._root_pids):
            # A server under another account may not be set back; its samples remain.
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK_RSS)
        self._before = self._sampled = rss_bytes(self._root_pids)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        highest = max(self._sampled, rss_bytes(self._root_pids, "VmHWM"))
        self.growth_bytes = highest - self._before

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_INTERVAL_S):
            self._sampled = max(self._sampled, rss_bytes(self._root_pids))


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            yield int(entry.name), fields


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third (state) on, or None if it has ended."""
    with suppress(OSError):
        # The name of the program stands in parentheses and may itself hold some.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None


def _memory_bytes(pid: int, key: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return 0
