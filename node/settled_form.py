"""The form in which a PACS has taken segmentations of a result: later tries stay with it.

Kept with the delivery as soon as one is there: the same structures in two forms would be drawn
twice.
"""

from __future__ import annotations

from typing import Final

from fhir.progress import Progress
from pipelines.objects.encoding import Encoding

_FORM: Final = "form"


def form_of(encoding: Encoding) -> str:
    """Name what of an encoding decides whether a PACS takes segmentations."""
    return f"{encoding.form} {encoding.segmentation_transfer_syntax}"


def settled_form(progress: Progress) -> str:
    """The form that is there; empty while none is."""
    return progress.receipt.get(_FORM, "")


def settle_on(progress: Progress, form: str) -> None:
    """Note, and keep, that segmentations are there in this form."""
    if settled_form(progress) != form:
        progress.receipt = {**progress.receipt, _FORM: form}
        progress.keep(progress.receipt)
