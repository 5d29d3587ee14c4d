"""How fast, with how much CPU and memory, receivers take what storescu sends.

`python -m tests.benchmarks.receive` runs every receiver that is installed, in turn, so that a
machine that slows down meanwhile slows all of them. `make bench-receive` is the same.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.ct_studies import (
    MB,
    SentStudy,
    in_no_order,
    write_ct_study,
    write_large_object,
)
from tests.benchmarks.free_memory import touch_free_memory
from tests.benchmarks.machine import command_line, machine_lines
from tests.benchmarks.page import write_section
from tests.benchmarks.process_tree import PeakMemory, comes_to_rest, cpu_s
from tests.benchmarks.receive_tables import Run, Times, case_lines, memory_lines
from tests.benchmarks.receivers import Receiver, Running, installed_receivers
from tests.benchmarks.sending import check_received, send_side_by_side

SECTION = "receive"
RECEIVED = "received"
HELD = "held"
_WARM_UP_SLICES = 12
# Whichever process gets them, each shall have had one.
_WARM_UP_TIMES = 2
# Of the files that may be open, for all but folders that are held.
_SPARED = 500
# Its page of the file, as much again for the sender and the sockets, and some to choose from.
_MEMORY_FOR_EACH_BYTE = 3


@dataclass(frozen=True, slots=True)
class Case:
    """Studies that are sent at once, each over an association of its own."""

    name: str
    studies: tuple[SentStudy, ...]

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(study.size_bytes for study in self.studies)


@dataclass
class Bench:
    """One run of the whole benchmark in a folder of its own."""

    folder: Path
    receivers: Sequence[Receiver]
    cases: Sequence[Case]
    warm_up: Case
    rest_s: float
    times: dict[str, Times] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    growth_bytes: dict[str, int] = field(default_factory=dict)
    open_folders: int = 0

    def speed(self, rounds: int) -> None:
        """Run every case on every receiver, round after round."""
        for number in range(1, rounds + 1):
            for case in self.cases:
                for receiver in _turned(self.receivers, number):
                    run = self._timed(receiver, case)
                    self.times[case.name][receiver.name].append(run)
                    _say(f"round {number}, {case.name}, {receiver.name}: {run.elapsed_s:.2f} s")

    def memory(self, large: SentStudy) -> None:
        """See how far each receiver grows by one large object."""
        for receiver in self.receivers:
            with receiver.start(self._fresh()) as running:
                with PeakMemory(running.root_pids) as peak:
                    send_side_by_side(running, [large])
                check_received(running, [large])
                self.growth_bytes[receiver.name] = peak.growth_bytes
            _say(f"memory, {receiver.name}: {peak.growth_bytes / MB:.0f} MB")

    def _timed(self, receiver: Receiver, case: Case) -> Run:
        with receiver.start(self._fresh()) as running:
            send_side_by_side(running, self.warm_up.studies)
            before_s = self._cpu_s_at_rest(receiver, running)
            touch_free_memory(_MEMORY_FOR_EACH_BYTE * case.size_bytes)
            elapsed_s = send_side_by_side(running, case.studies)
            used_s = self._cpu_s_at_rest(receiver, running) - before_s
            check_received(running, (*self.warm_up.studies, *case.studies))
            self._hold()
        return Run(elapsed_s, case.size_bytes, used_s)

    def _cpu_s_at_rest(self, receiver: Receiver, running: Running) -> float:
        """CPU seconds so far, when nothing is left to do of what was started or sent."""
        if not comes_to_rest(running.root_pids, self.rest_s):
            _say(f"{receiver.name} has not come to rest within {self.rest_s:g} s")
        return cpu_s(running.root_pids)

    def _fresh(self) -> Path:
        """Return an empty folder, with nothing of the run before on its way to the disk."""
        received = self.folder / RECEIVED
        if received.exists():
            received.rename(self._held())
        received.mkdir()
        for path in (self.folder / HELD).rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)
        os.sync()
        return received

    def _held(self) -> Path:
        """Return a path for what is not needed any more, and must not be deleted yet: see `_hold`.

        Folders are inodes, too.
        """
        held = self.folder / HELD
        held.mkdir(exist_ok=True)
        return held / str(len(list(held.iterdir())))

    def _hold(self) -> None:
        """Keep the inodes of what a receiver will delete itself, until the benchmark's end.

        Without a journal ext4 gives no inode away that was deleted in the last minutes, and looks
        at each of them whenever a file is made: what one receiver leaves would slow the next one.
        """
        held = self._held()
        held.mkdir()
        made = [*self.folder.glob("orthanc-*"), *self.folder.glob("radnode-*")]
        for number, path in enumerate(path for folder in made for path in folder.rglob("*")):
            with suppress(FileNotFoundError):
                if path.is_dir() and self.open_folders < _most_open() - _SPARED:
                    # An open folder is deleted when it is closed: at the end of the process.
                    os.open(path, os.O_PATH | os.O_CLOEXEC)
                    self.open_folders += 1
                elif path.is_file():
                    os.link(path, held / str(number), follow_symlinks=False)


def _most_open() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _turned(receivers: Sequence[Receiver], number: int) -> Sequence[Receiver]:
    """Whoever begins a round or comes after the slowest shall not be the same one each time."""
    first = number % len(receivers)
    return [*receivers[first:], *receivers[:first]]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=400, help="of the single association")
    parser.add_argument("--associations", type=int, default=4, help="of the parallel case")
    parser.add_argument("--parallel-slices", type=int, default=150, help="of each of these")
    parser.add_argument("--large-mb", type=int, default=1000, help="of the large object; 0: none")
    parser.add_argument("--rest-s", type=float, default=5, help="to wait at most for a rest")
    parser.add_argument("--quick", action="store_true", help="one small round, to try it")
    parser.add_argument("--only", nargs="*", help="receivers whose name begins so")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: temporary")
    parser.add_argument("--write", type=Path, help="page whose section is replaced")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.slices, given.parallel_slices, given.large_mb = 1, 40, 15, 64
    return given


def _chosen(only: Sequence[str] | None) -> list[Receiver]:
    installed = installed_receivers()
    if not only:
        return list(installed)
    return [one for one in installed if any(one.name.startswith(name) for name in only)]


def _cases(folder: Path, given: argparse.Namespace) -> list[Case]:
    single = write_ct_study(folder / "single", number=1, slices=given.slices)
    side_by_side = _studies(folder, 2, given.associations, given.parallel_slices)
    one = f"1 association x {given.slices} slices"
    many = f"{given.associations} associations x {given.parallel_slices} slices"
    return [
        Case(one, (single,)),
        Case(many, side_by_side),
        Case(f"{one}, series mixed", (in_no_order(single),)),
        Case(f"{many}, series mixed", tuple(map(in_no_order, side_by_side))),
    ]


def _warm_up(folder: Path, given: argparse.Namespace) -> Case:
    return Case(
        "warm-up", _studies(folder, 1000, _WARM_UP_TIMES * given.associations, _WARM_UP_SLICES)
    )


def _studies(folder: Path, first: int, count: int, slices: int) -> tuple[SentStudy, ...]:
    return tuple(
        write_ct_study(folder / f"study{number}", number=number, slices=slices)
        for number in range(first, first + count)
    )


def _page(bench: Bench, rounds: int) -> list[str]:
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, `{command_line()}`", ""]
    lines += machine_lines(bench.folder)
    for case in bench.cases if rounds else ():
        lines += ["", f"**{case.name}**, {case.size_bytes / MB:.0f} MB, {rounds} rounds", ""]
        lines += case_lines(bench.receivers, bench.times[case.name])
    if bench.growth_bytes:
        lines += ["", *memory_lines(bench.growth_bytes)]
    return lines


def _run(folder: Path, given: argparse.Namespace) -> list[str]:
    _say(f"writing the studies to {folder}")
    cases = _cases(folder, given)
    bench = Bench(folder, _chosen(given.only), cases, _warm_up(folder, given), given.rest_s)
    # Orthanc makes hundreds of folders a run: see `_hold`.
    resource.setrlimit(resource.RLIMIT_NOFILE, (_most_open(), _most_open()))
    # Whatever makes temporary folders of its own shall make them on the disk that is measured.
    tempfile.tempdir = str(folder)
    bench.speed(given.rounds)
    if given.large_mb:
        size_bytes = given.large_mb * MB
        large = write_large_object(folder / "large", number=99, size_bytes=size_bytes)
        bench.memory(large)
    return _page(bench, given.rounds)


def main() -> None:
    """Measure, print the page, and write it where it is wanted."""
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-receive-", dir=given.folder) as name:
        folder = Path(name)
        # PostgreSQL's account must reach its own folder in there.
        folder.chmod(0o711)
        lines = _run(folder, given)
        tempfile.tempdir = None
    sys.stdout.write("\n".join(lines) + "\n")
    if given.write:
        write_section(given.write, SECTION, lines)


if __name__ == "__main__":
    main()
