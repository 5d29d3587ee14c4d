"""pynetdicom as it comes: a storage SCP whose handler writes the encoded data set to a file.

A program of its own: `python -m tests.benchmarks.stock_receiver FOLDER PORT`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt

MAX_PDU_BYTES = 131072


def _store(event: Any, folder: Path) -> int:
    with (folder / f"{event.request.AffectedSOPInstanceUID}.dcm").open("wb") as file:
        file.write(event.encoded_dataset())
    return 0x0000


def main(folder: Path, port: int) -> None:
    """Receive until killed."""
    ae = AE(ae_title="STOCK")
    ae.maximum_pdu_size = MAX_PDU_BYTES
    ae.supported_contexts = AllStoragePresentationContexts
    handlers = [(evt.EVT_C_STORE, _store, [folder])]
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=handlers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
