"""The file that a C-STORE request's data set is written to while it comes."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class ArrivingFile:
    """A private file that takes all that comes, even when the disk does not.

    pynetdicom writes data sets in its thread for the connection, where an error would end the
    association without an answer. So the first error is kept in `error`, the file is deleted,
    and the rest of the data set goes nowhere: the handler then answers that it was not kept.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder / f"{secrets.token_hex(16)}.dcm")
        self.error: OSError | None = None
        self._file: BinaryIO | None = None
        with self._remembered():
            self._file = open(self.name, "xb", opener=_private_opener)  # noqa: SIM115

    @property
    def file(self) -> ArrivingFile:
        """Itself: pynetdicom flushes the file behind a `NamedTemporaryFile`."""
        return self

    def write(self, content: bytes) -> int:
        """Append bytes, or drop them after an error."""
        with self._remembered():
            if self._file is not None:
                self._file.write(content)
        return len(content)

    def flush(self) -> None:
        """Hand to the operating system what was written."""
        with self._remembered():
            if self._file is not None:
                self._file.flush()

    def close(self) -> None:
        """Close the file; it stays, unless there was an error."""
        with self._remembered():
            if self._file is not None:
                self._file.close()

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            self._give_up()

    def _give_up(self) -> None:
        """Give the space back at once: others receive on this disk, too."""
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            Path(self.name).unlink()
        if file is not None:
            # It tries to write its buffer once more, and closes although that fails.
            with contextlib.suppress(OSError):
                file.close()


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
