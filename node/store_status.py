"""What a C-STORE response means for the sender (PS3.4 B.2.3, PS3.7 C and 9.1.1.1.9)."""

from __future__ import annotations

from node.errors import PermanentDelivery, TransientDelivery

# Success, and warnings: the object is stored, perhaps with changes.
_STORED = frozenset({0x0000, 0x0001, 0x0107, 0x0116})
_DUPLICATE_SOP_INSTANCE = 0x0111
_SOP_CLASS_NOT_SUPPORTED = 0x0122
SOP_CLASS_NOT_SUPPORTED_CODE = f"status_{_SOP_CLASS_NOT_SUPPORTED:04x}"
_TRANSIENT = frozenset({0x0110, 0x0210, 0x0213})


def failure_of(
    status: int | None, sop_class_name: str, receiver: str
) -> TransientDelivery | PermanentDelivery | None:
    """Return the failure that a status stands for, or None where the object is stored.

    `status` None: no answer came, or the association was aborted.
    """
    if status is None:
        text = f"{receiver} gave no answer to {sop_class_name}, or aborted"
        return TransientDelivery("no_answer", text)
    if _is_stored(status):
        return None
    code = f"status_{status:04x}"
    if status & 0xFF00 == 0xA700 or status in _TRANSIENT:
        text = f"{receiver} cannot take {sop_class_name} now (0x{status:04X})"
        return TransientDelivery(code, text)
    return PermanentDelivery(code, f"{receiver} refused {sop_class_name} ({_meaning(status)})")


def is_of_form(status: int) -> bool:
    """Whether a refusal is of the form of an object, so that another encoding may pass."""
    is_of_content = status & 0xFF00 == 0xA900 or status & 0xF000 == 0xC000
    return is_of_content or status == _SOP_CLASS_NOT_SUPPORTED


def _is_stored(status: int) -> bool:
    return status in _STORED or status & 0xF000 == 0xB000 or status == _DUPLICATE_SOP_INSTANCE


def _meaning(status: int) -> str:
    told = f"0x{status:04X}"
    if status == _SOP_CLASS_NOT_SUPPORTED:
        return f"{told}: SOP class not supported; enable it there"
    if status == 0x0124:
        return f"{told}: not authorised; allow this node to store there"
    if status & 0xFF00 == 0xA900:
        return f"{told}: data set does not match SOP class; look at the receiver's log"
    if status & 0xF000 == 0xC000:
        return f"{told}: cannot understand; look at the receiver's log"
    return f"{told}; look at the receiver's log"
