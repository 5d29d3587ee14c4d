"""Whether two data sets under one SOP Instance UID are the same: the one law, for rows of any kind.

A digest that differs says that they differ; one that is equal says nothing, for a sender with bad
intent can make it so. Then, and where the digests are of different kinds, their bytes are compared.
What is kept but lost (its file is missing, cannot be read or is shorter than its head) is the same
as nothing: what comes is newer then, and is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from storage.dataset_digest import are_different
from storage.dicom_records import IncomingInstance
from storage.instance_files import InstanceFiles


class Content(NamedTuple):
    """A data set that is kept: where, relative to the data directory, and the digest of its row."""

    path: str
    dataset_digest: str


class SameContent:
    """Compares what comes with what is kept; no file is read twice, as none is ever changed.

    Without files it goes by the digests alone.
    """

    def __init__(self, files: InstanceFiles | None = None) -> None:
        self.files = files
        self._compared: dict[tuple[str, str], bool] = {}
        self._sure: dict[str, str] = {}

    def is_same(self, incoming: IncomingInstance, kept: Content) -> bool:
        """Whether an instance is what is kept already, so that nobody needs its file.

        Raises:
            StorageError: the file of the instance cannot be read, or the kept one just now.
        """
        if self.files is None:
            return incoming.dataset_digest == kept.dataset_digest
        if incoming.path == kept.path:
            return True
        if are_different(incoming.dataset_digest, kept.dataset_digest):
            return False
        pair = incoming.path, kept.path
        if pair not in self._compared:
            self._compared[pair] = self.files.has_same_data_set(*pair)
        return self._compared[pair]

    def apart(self, incoming: IncomingInstance, others: Iterable[Content]) -> IncomingInstance:
        """Return the instance with a digest that none of the others has, unless it is that one.

        It keeps its own where nobody else has that; else it gets a SHA-256, which is its alone. So
        does one that may be the same as what is lost: nobody can say that it is.

        Raises:
            StorageError: as for `is_same`.
        """
        equal = [one for one in others if one.dataset_digest == incoming.dataset_digest]
        if self.files is None or not equal or any(self.is_same(incoming, one) for one in equal):
            return incoming
        path = incoming.path
        if path not in self._sure:
            self._sure[path] = self.files.sure_digest(path)
        return incoming._replace(dataset_digest=self._sure[path])
