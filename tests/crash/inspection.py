"""Looks at a node's data from outside: is all there that was acknowledged, and all of it whole?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.crash.known_instances import KnownInstance
from tests.peers.kept_instances import KeptInstance, kept_instances
from tests.peers.part10 import data_set_of


class Inspection:
    """The database and the instance files of one node, compared with what was sent.

    Problems are one line each. What was found to be right is not compared again until `forget`.
    """

    def __init__(self, database_url: str, data_dir: Path) -> None:
        self._database_url = database_url
        self._data_dir = data_dir
        self._right: set[str] = set()

    def forget(self) -> None:
        """Compare everything again the next time."""
        self._right.clear()

    def lost(self, acknowledged: Iterable[KnownInstance]) -> list[str]:
        """Return the acknowledged instances that are not there, byte for byte."""
        kept = kept_instances(self._database_url)
        return [
            f"lost: {problem}"
            for instance in acknowledged
            if (problem := self._problem(instance, kept.get(instance.sop_instance_uid)))
        ]

    def half_visible(self, known: Iterable[KnownInstance]) -> list[str]:
        """Return the rows, acknowledged or not, whose file is not whole or was never sent."""
        sent = {instance.sop_instance_uid: instance for instance in known}
        found = []
        for uid, row in kept_instances(self._database_url).items():
            problem = self._problem(sent[uid], row) if uid in sent else f"{uid} was never sent"
            if problem:
                found.append(f"half visible: {problem}")
        return found

    def left_over(self) -> list[str]:
        """Return files that no row names; right after a start of the whole node there is none."""
        named = {row.path for row in kept_instances(self._database_url).values()}
        return [f"left over: {path}" for path in self._files() if path not in named]

    def _files(self) -> Iterator[str]:
        for folder in ("instances", "incoming"):
            for path in (self._data_dir / folder).rglob("*"):
                if path.is_file():
                    yield path.relative_to(self._data_dir).as_posix()

    def _problem(self, instance: KnownInstance, row: KeptInstance | None) -> str | None:
        uid = instance.sop_instance_uid
        if row is None:
            return f"{uid} has no row"
        path = self._data_dir / row.path
        if uid in self._right and path.is_file() and path.stat().st_size == row.size_bytes:
            return None
        problem = _difference(path, row, instance.data_set())
        if problem is None:
            self._right.add(uid)
        return f"{uid} {problem}" if problem else None


def _difference(path: Path, row: KeptInstance, sent: bytes) -> str | None:
    try:
        if path.stat().st_size != row.size_bytes:
            return f"has {path.stat().st_size} bytes on disk and {row.size_bytes} in its row"
        return None if data_set_of(path) == sent else "differs from what was sent"
    except (FileNotFoundError, ValueError) as error:
        return f"cannot be read: {error}"


def counted(problems: Iterable[str]) -> Mapping[str, int]:
    """Return how many problems of each kind there are."""
    kinds: dict[str, int] = {}
    for problem in problems:
        kind = problem.split(":", 1)[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds
