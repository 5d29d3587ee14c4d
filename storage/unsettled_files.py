"""Files whose row may or may not exist: the database fell silent during the commit.

To delete such a file could lose an instance that the database says we have (the sender, asked
to repeat it, would then be told Success for a duplicate). To keep it for ever would fill the
disk. So it is kept until the database answers again.
"""

from __future__ import annotations

import threading

from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.instances import is_kept


class UnsettledFiles:
    """Remembers such files until `settle` can tell whether a row points to them."""

    def __init__(self, db: Database, files: InstanceFiles) -> None:
        self._db = db
        self._files = files
        self._lock = threading.Lock()
        self._unsettled: list[str] = []

    def add(self, path: str) -> None:
        """Remember one file, by its path in the data directory."""
        with self._lock:
            self._unsettled.append(path)

    def settle(self) -> None:
        """Delete the files that no row points to.

        Raises:
            DatabaseUnavailable: still no answer; the rest stays remembered.
        """
        while path := self._first():
            if not is_kept(self._db, path):
                self._files.discard(path)
            with self._lock:
                self._unsettled.remove(path)

    def _first(self) -> str | None:
        with self._lock:
            return self._unsettled[0] if self._unsettled else None
