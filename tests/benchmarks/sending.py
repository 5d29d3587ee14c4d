"""DCMTK's storescu as the load: one process an association, all started at once."""

from __future__ import annotations

import subprocess
import threading
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


def send_side_by_side(running: Running, studies: Sequence[SentStudy]) -> float:
    """Send each study over an association of its own; the seconds until the last is done.

    Raises:
        NotReceived: a sender did not end well.
    """
    started = time.perf_counter()
    codes = exit_codes([_storescu(running, study.files) for study in studies], TIMEOUT_S)
    elapsed_s = time.perf_counter() - started
    if any(codes):
        raise NotReceived(f"storescu ended with {codes}")
    return elapsed_s


def exit_codes(children: Sequence[subprocess.Popen[bytes]], timeout_s: float) -> list[int]:
    """Return as soon as the last child has ended; those that still run at the timeout are killed.

    `Popen.wait` with a timeout looks every 50 ms only, a tenth of what is measured.
    """
    end_of_patience = threading.Timer(timeout_s, _kill, [children])
    end_of_patience.start()
    try:
        return [child.wait() for child in children]
    finally:
        end_of_patience.cancel()


def _kill(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.kill()


def check_received(running: Running, studies: Sequence[SentStudy]) -> None:
    """Make sure that these studies, and nothing else, have arrived.

    Raises:
        NotReceived: an instance is missing, foreign or short.
    """
    wanted = {uid for study in studies for uid in study.sop_instance_uids}
    received = running.source()
    if set(received) != wanted:
        missing, more = len(wanted - set(received)), len(set(received) - wanted)
        raise NotReceived(f"{missing} of {len(wanted)} instances are missing, {more} are foreign")
    sent_bytes = sum(study.size_bytes for study in studies)
    if sum(received.values()) < sent_bytes - len(wanted) * _ALLOWANCE_BYTES:
        raise NotReceived(f"{sum(received.values())} bytes of {sent_bytes} have arrived")


def _storescu(running: Running, files: Sequence[Path]) -> subprocess.Popen[bytes]:
    size = str(MAX_PDU_BYTES)
    titles = ["-aet", SENDER, "-aec", running.ae_title]
    sizes = ["-pdu", size, "--max-send-pdu", size]
    # One by one: of a folder it would send them as the file system lists them, in any order.
    return subprocess.Popen(
        ["storescu", "-q", *titles, *sizes, "127.0.0.1", str(running.port), *map(str, files)],
        env=ENVIRONMENT,
    )
