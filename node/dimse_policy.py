"""How the DICOM libraries behave in every process of the node.

pynetdicom and pydicom are configured by module globals. They are set here, in one place and
always to the same values, whichever of listener, C-STORE SCU and C-FIND SCU starts first.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

from pydicom import config as pydicom_config
from pynetdicom import _config

from node.reply_race import close_reply_race
from node.sending_pace import pace_sending


def apply_dimse_policy() -> None:
    """Set the libraries' globals; calling it again changes nothing."""
    # Identifiers of C-FIND carry patient data, and so may the text of the libraries' errors.
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    # Data sets go from file to socket in pieces: memory stays flat.
    _config.STORE_SEND_CHUNKED_DATASET = True
    # pydicom's validation quotes the offending value in a warning.
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE


def prepare_requestor(event: Any) -> None:
    """Make a requestor's new connection fast and sound (handler of `evt.EVT_CONN_OPEN`)."""
    close_reply_race(event)
    pace_sending(event)
    _send_without_delay(event)


def _send_without_delay(event: Any) -> None:
    # A C-STORE is many small writes that wait for an answer: Nagle's algorithm together with
    # delayed acknowledgement costs 40 ms each time.
    connection = event.assoc.dul.socket.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
