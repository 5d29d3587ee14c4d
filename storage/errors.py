"""What can go wrong in storage; no text here ever holds patient data or a plain UID.

StorageError
 +- InvalidUid           a text is no DICOM UID (PS3.5 9.1)
 +- IdentityConflict     an instance contradicts what is known of its study or series
 |   +- Quarantined      ... and is kept aside until a person decides
 +- DatabaseUnavailable  locked, down or out of connections: the same call may work later
 |   +- Contended        ... or chosen to give way to another transaction: it may work at once
 +- DatabaseInUse        another node holds this database
 +- OutOfSpace           the disk of the files or of the database is full
 +- NotFound             no such row
 +- IllegalTransition    a change of state that the transition tables do not allow
 +- LeaseLost            the job or delivery is no longer this worker's
"""

from __future__ import annotations

from enum import StrEnum


class ConflictReason(StrEnum):
    """What of an instance differs from what is known; there is nobody's data in it."""

    OTHER_PATIENT = "other_patient"
    SERIES_IN_OTHER_STUDY = "series_in_other_study"
    INSTANCE_IN_OTHER_STUDY = "instance_in_other_study"


class StorageError(Exception):
    """Storage could not do what was asked."""


class InvalidUid(StorageError):
    """A text is no DICOM UID."""


class IdentityConflict(StorageError):
    """An instance names another patient or study than the rows it belongs to.

    `reason` is the code of what differs.
    """

    def __init__(self, reason: ConflictReason, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class Quarantined(IdentityConflict):
    """Such an instance is kept aside, safe and visible, under `quarantine_id`."""

    def __init__(self, quarantine_id: int, conflict: IdentityConflict) -> None:
        self.quarantine_id = quarantine_id
        super().__init__(conflict.reason, f"{conflict}; it is kept in quarantine {quarantine_id}")


class DatabaseUnavailable(StorageError):
    """The database is locked, down or out of connections; nothing was changed."""


class Contended(DatabaseUnavailable):
    """The database ended a transaction in favour of another; nothing was changed."""


class DatabaseInUse(StorageError):
    """Another node holds this database; two would take back each other's work."""


class OutOfSpace(StorageError):
    """No space is left on the disk; nothing was kept."""


class UnreadableFile(StorageError):
    """A file that was received is gone, damaged or cannot be read: the matter of that one alone."""


class NotFound(StorageError):
    """There is no such row."""


class IllegalTransition(StorageError):
    """The transition tables do not allow this change of state; nothing was changed."""


class LeaseLost(StorageError):
    """The job or delivery is not, or no longer, held by this worker; nothing was changed."""


def unexpected(error: BaseException) -> StorageError:
    """Return what is told of an error that nobody has thought of: its type alone."""
    told = StorageError(f"recording failed: {type(error).__name__}")
    told.__cause__ = error
    return told
