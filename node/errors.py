"""Errors of the node.

NodeError
├── DeliveryError            a destination did not take what was sent
│   ├── TransientDelivery    trying again later may help
│   └── PermanentDelivery    trying again cannot help: a person has to act
│       └── FormRefused      it does not take this form of an object; it may take another
├── CannotMakeCertificates   names, folder or CA do not allow it; the message says why
├── CannotStart              the node cannot run as it is set up; the message says what to change
├── CommitmentUnavailable    a PACS could not be asked for, or told of, a storage commitment
├── CountsUnavailable        a PACS did not answer a C-FIND for counts
└── ListenerFailed           the listener's address could not be taken
"""

from __future__ import annotations

from collections.abc import Collection


class NodeError(Exception):
    """Anything that fails in the node; the message is free of patient data."""


class DeliveryError(NodeError):
    """A destination did not take what was sent; `code` is for tables, the text for a person."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code}: {text}")


class TransientDelivery(DeliveryError):
    """Trying again later may help; `retry_after_s` is the receiver's own wish, where it has one."""

    def __init__(self, code: str, text: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(code, text)


class PermanentDelivery(DeliveryError):
    """Trying again cannot help; the text says what a person has to change."""


class FormRefused(PermanentDelivery):
    """The receiver takes no object of `sop_classes` in the form that was tried, or in any."""

    def __init__(self, code: str, text: str, sop_classes: Collection[str]) -> None:
        self.sop_classes = frozenset(map(str, sop_classes))
        super().__init__(code, text)


class CannotStart(NodeError):
    """The node cannot run as it is set up; the message says what to change."""


class CommitmentUnavailable(NodeError):
    """Storage commitment did not work; `is_supported` False where the peer does not offer it."""

    def __init__(self, code: str, text: str, *, is_supported: bool = True) -> None:
        self.code = code
        self.text = text
        self.is_supported = is_supported
        super().__init__(f"{code}: {text}")


class CannotMakeCertificates(NodeError):
    """Certificates could not be made; the message says why."""


class CountsUnavailable(NodeError):
    """A PACS could not be asked for counts, or gave no usable answer."""


class ListenerFailed(NodeError):
    """The listener could not take its address; the message names host and port."""
