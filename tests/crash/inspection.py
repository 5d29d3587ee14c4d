"""Looks at a node's data from outside: is all there that was acknowledged, and all of it whole?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xxhash import xxh3_128

from tests.crash.known_instances import KnownInstance
from tests.peers.kept_instances import KeptInstance, kept_instances
from tests.peers.part10 import data_set_of

_FOLDERS = ("instances", "incoming")


@dataclass(frozen=True, slots=True)
class View:
    """One look at a node's data: its rows by SOP Instance UID, and its files' sizes by path."""

    rows: Mapping[str, KeptInstance]
    sizes: Mapping[str, int]


class Inspection:
    """The database and the instance files of one node, compared with what was sent.

    Problems are one line each. Content that was found to be right is read again after `forget`
    only; that it is there, in the right size, is seen every time.
    """

    def __init__(self, database_url: str, data_dir: Path) -> None:
        self._database_url = database_url
        self._data_dir = data_dir
        self._right: set[str] = set()

    def forget(self) -> None:
        """Compare everything again the next time."""
        self._right.clear()

    def view(self) -> View:
        """Look at the rows first: a file is at its place before its row is."""
        rows = kept_instances(self._database_url)
        return View(rows, dict(self._files()))

    def lost(self, view: View, acknowledged: Iterable[KnownInstance]) -> list[str]:
        """Return the acknowledged instances that are not there, byte for byte."""
        problems = (self._problem(view, instance) for instance in acknowledged)
        return [f"lost: {problem}" for problem in problems if problem]

    def half_visible(self, view: View, known: Iterable[KnownInstance]) -> list[str]:
        """Return the rows, acknowledged or not, whose file is not whole or was never sent."""
        sent = {instance.sop_instance_uid: instance for instance in known}
        problems = (
            self._problem(view, sent[uid]) if uid in sent else f"{uid} was never sent"
            for uid in view.rows
        )
        return [f"half visible: {problem}" for problem in problems if problem]

    def left_over(self, view: View) -> list[str]:
        """Return files that no row names; right after a start of the whole node there is none.

        A database without a row sweeps nothing: it might be the wrong one for this data directory.
        """
        if not view.rows:
            return []
        named = {row.path for row in view.rows.values()}
        return [f"left over: {path}" for path in view.sizes if path not in named]

    def _files(self) -> Iterator[tuple[str, int]]:
        for top in _FOLDERS:
            for folder, _, names in os.walk(self._data_dir / top):
                for name in names:
                    path = Path(folder, name)
                    # The node may end what it holds in its hands while we look.
                    with suppress(FileNotFoundError):
                        yield path.relative_to(self._data_dir).as_posix(), path.stat().st_size

    def _problem(self, view: View, instance: KnownInstance) -> str | None:
        uid = instance.sop_instance_uid
        row = view.rows.get(uid)
        if row is None:
            return f"{uid} has no row"
        size = view.sizes.get(row.path)
        if size != row.size_bytes:
            return f"{uid} has {size} bytes on disk and {row.size_bytes} in its row"
        if uid not in self._right:
            sent = instance.data_set()
            if _content(self._data_dir / row.path) != sent:
                return f"{uid} differs from what was sent"
            if row.dataset_digest != f"xxh3:{xxh3_128(sent).hexdigest()}":
                return f"{uid} has the digest of something else in its row"
            self._right.add(uid)
        return None


def _content(path: Path) -> bytes | None:
    try:
        return data_set_of(path)
    except (FileNotFoundError, ValueError):
        return None


def counted(problems: Iterable[str]) -> Mapping[str, int]:
    """Return how many problems of each kind there are."""
    kinds: dict[str, int] = {}
    for problem in problems:
        kind = problem.split(":", 1)[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds
