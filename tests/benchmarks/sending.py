"""DCMTK's storescu as the load: one process an association, all started at once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.ct_studies import SentStudy
from tests.benchmarks.receivers import SENDER, Running
from tests.benchmarks.stock_receiver import MAX_PDU_BYTES
from tests.peers.dcmtk import ENVIRONMENT

TIMEOUT_S = 600
_ALLOWANCE_BYTES = 4096


class NotReceived(Exception):
    """A sender failed, or a receiver does not have what it acknowledged."""


def send_side_by_side(
    running: Running, studies: Sequence[SentStudy], sent_before: Sequence[SentStudy] = ()
) -> float:
    """Send each study over an association of its own; the seconds until the last is done.

    `sent_before` is what the receiver has already.

    Raises:
        NotReceived: a sender did not end well, or an instance is missing or short.
    """
    started = time.perf_counter()
    senders = [_storescu(running, study.folder) for study in studies]
    codes = [sender.wait(TIMEOUT_S) for sender in senders]
    elapsed_s = time.perf_counter() - started
    if any(codes):
        raise NotReceived(f"storescu ended with {codes}")
    _check(running, (*sent_before, *studies))
    return elapsed_s


def _storescu(running: Running, folder: Path) -> subprocess.Popen[bytes]:
    size = str(MAX_PDU_BYTES)
    titles = ["-aet", SENDER, "-aec", running.ae_title]
    sizes = ["-pdu", size, "--max-send-pdu", size]
    # Without it the largest object would be proposed in encodings that it does not have.
    return subprocess.Popen(
        ["storescu", "-q", *titles, *sizes, "+sd", "127.0.0.1", str(running.port), str(folder)],
        env=ENVIRONMENT,
    )


def _check(running: Running, studies: Sequence[SentStudy]) -> None:
    wanted = {uid for study in studies for uid in study.sop_instance_uids}
    received = running.source()
    if set(received) != wanted:
        missing, more = len(wanted - set(received)), len(set(received) - wanted)
        raise NotReceived(f"{missing} of {len(wanted)} instances are missing, {more} are foreign")
    sent_bytes = sum(study.size_bytes for study in studies)
    if sum(received.values()) < sent_bytes - len(wanted) * _ALLOWANCE_BYTES:
        raise NotReceived(f"{sum(received.values())} bytes of {sent_bytes} have arrived")
