"""What a C-STORE request is answered (PS3.4 B.2.3, PS3.7 C), and when.

The status decides what the sender does next: after 0xA7xx a PACS keeps the instance and sends
it again later; after 0xA9xx and 0xCxxx it tells its operator. Error Comment (0000,0902) says
more, within its 64 characters and without patient data.
"""

from __future__ import annotations

from enum import Enum

SUCCESS = 0x0000


class StoreFailure(Enum):
    """Every reason for not taking an instance: its status and its Error Comment."""

    DISK_LOW = (0xA700, "Out of resources: too little free disk space")
    DISK_FULL = (0xA700, "Out of resources: the file could not be written")
    DATABASE_UNAVAILABLE = (0xA700, "Out of resources: database unavailable")
    SOP_CLASS_MISMATCH = (0xA900, "SOP Class UID differs from the command's or the context's")
    SOP_INSTANCE_MISMATCH = (0xA900, "SOP Instance UID differs from the command's")
    UNREADABLE = (0xC000, "Cannot understand: not a data set in this transfer syntax")
    TRUNCATED = (0xC000, "Cannot understand: data set ends before its last element")
    MISSING_UID = (0xC000, "Cannot understand: study, series or instance UID missing")
    INVALID_UID = (0xC000, "Cannot understand: study, series or instance UID invalid")
    IDENTITY_CONFLICT = (0xC010, "Series or patient differs from what came before")
    PROCESSING_FAILURE = (0x0110, "Processing failure: see the node's log")

    def __init__(self, status: int, comment: str) -> None:
        self.status = status
        self.comment = comment

    @property
    def code(self) -> str:
        """The reason as it stands in logs and in the audit trail."""
        return self.name.lower()


class StoreRefused(Exception):
    """An instance was not taken; raised inside the receiver, answered by its handler."""

    def __init__(self, failure: StoreFailure) -> None:
        self.failure = failure
        super().__init__(failure.code)
