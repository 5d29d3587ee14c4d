"""The body of a Store transaction: files as the parts of one message, read while they are sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 1 << 18
_PART_TYPE: Final = "application/dicom"


def _boundary() -> str:
    return f"radnode-{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class MultipartBody:
    """Part 10 files as multipart/related (RFC 2387; PS3.18 8.6.1.2)."""

    paths: Sequence[Path]
    boundary: str = field(default_factory=_boundary)

    @property
    def content_type(self) -> str:
        """The header of the whole."""
        return f'multipart/related; type="{_PART_TYPE}"; boundary={self.boundary}'

    def content_length(self) -> int:
        """Bytes of the whole; raises OSError where a file is missing."""
        files = sum(path.stat().st_size for path in self.paths)
        return files + len(self.paths) * len(self._head() + b"\r\n") + len(self._end())

    def chunks(self) -> Iterator[bytes]:
        """Give the whole, piece by piece; raises OSError where a file cannot be read."""
        for path in self.paths:
            yield self._head()
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
            yield b"\r\n"
        yield self._end()

    def _head(self) -> bytes:
        return f"--{self.boundary}\r\nContent-Type: {_PART_TYPE}\r\n\r\n".encode("ascii")

    def _end(self) -> bytes:
        return f"--{self.boundary}--\r\n".encode("ascii")
