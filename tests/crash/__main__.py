"""`python -m tests.crash`: kills the node again and again, and looks for what was lost.

Ends with status 1 if anything that was acknowledged is missing or differs, if anything half
written is visible, or if leftovers stay.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from config.settings import StorageSettings
from tests.crash.inspection import counted
from tests.crash.rounds import CrashTest, Summary
from tests.peers.postgres import PostgresServer

_KINDS = ("lost", "half visible", "left over")
_MOST_TOLD = 20


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--senders", type=int, default=3)
    parser.add_argument("--seed", type=int, help="of a former run, to repeat its choices")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    if "durability" in StorageSettings.model_fields:
        parser.add_argument("--durability", choices=("os", "fsync"), default="fsync")
    parser.add_argument("--folder", type=Path, help="for the node's data; default: temporary")
    return parser.parse_args()


@contextmanager
def _storage(given: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    storage = {"durability": given.durability} if "durability" in given else {}
    if given.database == "sqlite":
        yield storage
        return
    with PostgresServer() as server:
        yield {**storage, "database_url": server.new_database()}


def _told(summary: Summary) -> Iterator[str]:
    kinds = counted(summary.problems)
    yield f"seed            {summary.seed}"
    yield f"rounds          {summary.rounds}"
    yield f"killed          {_list(summary.killed)}"
    yield f"acknowledged    {summary.acknowledged}"
    yield f"sent again      {summary.sent_again}"
    yield f"interruptions   {summary.interruptions}"
    answers = {f"0x{status:04X}": number for status, number in summary.other_answers.items()}
    yield f"other answers   {_list(answers)}"
    yield f"errors in log   {_list(summary.errors)}"
    for kind in _KINDS:
        yield f"{kind:15} {kinds.get(kind, 0)}"
    yield from summary.problems[:_MOST_TOLD]


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} x {name}" for name, number in sorted(counts.items())) or "none"


def _run(folder: Path, given: argparse.Namespace, storage: Mapping[str, Any]) -> Summary:
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    sys.stderr.write(f"seed {seed}\n")
    test = CrashTest(folder, seed=seed, senders=given.senders, storage=storage)
    with closing(test):
        for number in range(1, given.rounds + 1):
            started = time.monotonic()
            test.run_round()
            _say_round(number, time.monotonic() - started, test.summary)
        return test.finish()


def _say_round(number: int, took_s: float, so_far: Summary) -> None:
    counts = f"{so_far.acknowledged} acknowledged, {len(so_far.problems)} problems"
    sys.stderr.write(f"round {number}: {took_s:.1f} s, {counts}\n")


def main() -> int:
    """Run the rounds, print the summary, and return the exit status."""
    given = _arguments()
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="crash-test-", dir=given.folder) as folder,
        _storage(given) as storage,
    ):
        summary = _run(Path(folder), given, storage)
    sys.stdout.write("\n".join(_told(summary)) + "\n")
    return 1 if summary.problems else 0


if __name__ == "__main__":
    sys.exit(main())
