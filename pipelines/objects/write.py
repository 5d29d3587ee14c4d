"""Result files: PS3.10, Explicit VR Little Endian, durable before anyone is told."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset

from storage.durable import durable_write


def write_object(dataset: Dataset, path: Path) -> tuple[int, str]:
    """Write a result and give its size in bytes and the sha256 of the file.

    The file is there completely or not at all. Raises OSError as `durable_write` does.
    """
    encoded = encoded_object(dataset)
    durable_write(path, encoded)
    return len(encoded), sha256(encoded).hexdigest()


def encoded_object(dataset: Dataset) -> bytes:
    """Give the bytes of the file; group 2 comes from the dataset's own `file_meta`."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
