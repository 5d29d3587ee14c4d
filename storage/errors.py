"""What can go wrong in storage; no text here ever holds patient data or a plain UID.

StorageError
 +- InvalidUid           a text is no DICOM UID (PS3.5 9.1)
 +- IdentityConflict     an instance contradicts what is known of its study or series
 +- DatabaseUnavailable  locked, down or out of connections: the same call may work later
 +- OutOfSpace           the disk of the files or of the database is full
 +- NotFound             no such row
 +- IllegalTransition    a change of state that the transition tables do not allow
 +- LeaseLost            the job or delivery is no longer this worker's
"""

from __future__ import annotations


class StorageError(Exception):
    """Storage could not do what was asked."""


class InvalidUid(StorageError):
    """A text is no DICOM UID."""


class IdentityConflict(StorageError):
    """An instance names another patient or study than the rows it belongs to."""


class DatabaseUnavailable(StorageError):
    """The database is locked, down or out of connections; nothing was changed."""


class OutOfSpace(StorageError):
    """No space is left on the disk; nothing was kept."""


class NotFound(StorageError):
    """There is no such row."""


class IllegalTransition(StorageError):
    """The transition tables do not allow this change of state; nothing was changed."""


class LeaseLost(StorageError):
    """The job or delivery is not, or no longer, held by this worker; nothing was changed."""
