"""`python -m tests.crash.power_cuts`: cuts the power again and again, and looks for what was lost.

A node works on an ext4 file system in a file. A cut: its processes are stopped, and what of that
file system is in the file by then, without what the kernel still keeps to itself, is copied. On the
copy another node starts, as after the cut; then the first one goes on. That is what a crash of the
kernel leaves; a disk that loses what it has said to be written is not played.

Needs root, mkfs.ext4 and loop devices. Ends with status 1 if anything is missing that was
acknowledged, if anything half written is visible, or if leftovers stay. With `--durability os`
things are lost: so it can be seen that a cut is one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.acceptance.radnode_process import RadnodeProcess
from tests.crash.inspection import Inspection
from tests.crash.rounds import node_settings
from tests.crash.sender import Sender
from tests.crash.victims import children_of
from tests.peers.kept_instances import sqlite_of
from tests.peers.ports import wait_until

_DISK_BYTES = 4 << 30
_SHORTEST_LIFE_S, _LONGEST_LIFE_S = 0.2, 0.9
_UNTIL_STOPPED_S = 0.15
_SENDERS = 4
_MOST_TOLD = 20
# The kernel is not to write by itself what nobody has asked for.
_SELDOM = "commit=300"


class Cut(NamedTuple):
    """What one cut has shown."""

    acknowledged: int
    by_receipts: int
    problems: list[str]


class PowerCuts:
    """A node that is cut off; `disk` is the file in which its file system lies."""

    def __init__(self, disk: Path, folder: Path, durability: str, seed: int) -> None:
        self._disk = disk
        self._storage = {"disk_low_mib": 16, "durability": durability}
        settings = node_settings(folder / "node" / "data", self._storage)
        self._node = RadnodeProcess(folder / "node", settings)
        self._senders = [Sender(seed, number) for number in range(1, _SENDERS + 1)]
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have the node run, and senders send, in a `with` block."""
        self._node.start()
        threads = [
            threading.Thread(target=each.work, args=(self._node.port, self._stop), daemon=True)
            for each in self._senders
        ]
        try:
            for thread in threads:
                thread.start()
            yield
        finally:
            self._stop.set()
            self._node.kill_group()
            for thread in threads:
                thread.join()

    def cut(self, copy: Path) -> Cut:
        """Cut the power now; `copy` is for what is on the disk then."""
        processes = [self._node.pid, *children_of(self._node)]
        _signal(processes, signal.SIGSTOP)
        try:
            # What was answered is heard by then.
            time.sleep(_UNTIL_STOPPED_S)
            _run("cp", "--sparse=always", str(self._disk), str(copy))
            with mounted(copy) as folder:
                return self._after_it(folder)
        finally:
            _signal(processes, signal.SIGCONT)

    def _after_it(self, folder: Path) -> Cut:
        acknowledged = [one for each in self._senders for one in each.acknowledged]
        known = [one for each in self._senders for one in each.known()]
        data_dir = folder / "node" / "data"
        again = RadnodeProcess(folder / "again", node_settings(data_dir, self._storage))
        try:
            again.start()
            inspection = Inspection(str(sqlite_of(data_dir)), data_dir)
            view = inspection.view()
            problems = [
                *inspection.lost(view, acknowledged),
                *inspection.half_visible(view, known),
                *inspection.left_over(view),
            ]
            recorded = sum(each["instances"] for each in again.events("receipts_recorded"))
            return Cut(len(acknowledged), recorded, problems)
        finally:
            again.kill_group()


@contextmanager
def mounted(disk: Path, *options: str) -> Iterator[Path]:
    """Mount the file system that lies in a file, in a folder beside it."""
    folder = disk.with_suffix(".mounted")
    folder.mkdir(exist_ok=True)
    _run("mount", "-o", ",".join(("loop", *options)), str(disk), str(folder))
    try:
        yield folder
    finally:
        wait_until(lambda: _is_unmounted(folder), what="nobody uses the disk")


def _is_unmounted(folder: Path) -> bool:
    return subprocess.run(("umount", folder), capture_output=True, check=False).returncode == 0


def _signal(processes: Sequence[int], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process, number)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _new_disk(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(_DISK_BYTES)
    _run("mkfs.ext4", "-q", "-F", str(path))
    return path


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=12)
    parser.add_argument("--seed", type=int, help="of a former run, to repeat its choices")
    parser.add_argument("--durability", choices=("os", "fsync"), default="fsync")
    parser.add_argument("--folder", type=Path, help="for the disks, 8 GiB; default: temporary")
    return parser.parse_args()


def main() -> int:
    """Cut as often as asked, and tell; 1 if anything is wrong."""
    given = _arguments()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    chance, problems = random.Random(seed), list[str]()
    sys.stdout.write(f"seed {seed}, durability {given.durability}\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.folder)))
        disk = _new_disk(folder / "disk")
        cuts = PowerCuts(disk, stack.enter_context(mounted(disk, _SELDOM)), given.durability, seed)
        stack.enter_context(cuts.running())
        for number in range(1, given.cuts + 1):
            time.sleep(chance.uniform(_SHORTEST_LIFE_S, _LONGEST_LIFE_S))
            cut = cuts.cut(folder / "copy")
            problems += cut.problems
            sys.stdout.write(
                f"cut {number}: {cut.acknowledged} acknowledged, {cut.by_receipts} recorded by"
                f" receipts, {len(cut.problems)} problems\n"
            )
            sys.stdout.flush()
    sys.stdout.write("".join(f"{each}\n" for each in problems[:_MOST_TOLD]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
