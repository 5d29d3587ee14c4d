"""How a sender's PACS is asked for counts: by QIDO-RS where a URL is configured, else by C-FIND."""

from __future__ import annotations

from config.settings import SenderSettings
from node.find_counts import PacsCounts, ask_counts
from node.qido_counts import ask_qido


def ask_pacs(
    sender: SenderSettings, study_instance_uid: str, *, calling_ae_title: str, timeout_s: float
) -> PacsCounts:
    """Ask the PACS behind `sender` for what it has of a study.

    Raises:
        CountsUnavailable: it cannot be asked, or gives no usable answer.
    """
    if sender.qido_url is not None:
        return ask_qido(sender, study_instance_uid, timeout_s=timeout_s)
    return ask_counts(
        sender, study_instance_uid, calling_ae_title=calling_ae_title, timeout_s=timeout_s
    )
