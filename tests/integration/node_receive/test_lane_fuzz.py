"""Whatever a peer sends: each ends as stored, refused or aborted, and nothing is left of it.

RADNODE_FUZZ_EXAMPLES asks for more examples than the few of every run.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.settings import SenderSettings
from node.receive.listener import Listener
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from tests.integration.node_receive.mr_study import SERIES, mr_instance
from tests.integration.node_receive.running_listener import receive_settings
from tests.integration.node_receive.sender import encoded
from tests.migrated_database import migrated_database
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import (
    A_ABORT,
    A_ASSOCIATE_RJ,
    A_RELEASE_RQ,
    C_ECHO_RQ,
    COMMAND,
    DATA,
    LAST,
    VERIFICATION,
    RawPeer,
    associate_request,
    command_set,
    p_data,
    pdu,
    pdv,
    store_command,
)

EXAMPLES = int(os.environ.get("RADNODE_FUZZ_EXAMPLES", "200"))
MR, QUARANTINED = 3, 0xB000
DATA_SET = encoded(mr_instance(1))
ECHO = p_data(pdv(1, COMMAND | LAST, command_set(C_ECHO_RQ, sop_class=VERIFICATION)))
STORE = p_data(pdv(MR, COMMAND | LAST, store_command(f"{SERIES}.1"))) + p_data(
    pdv(MR, DATA, DATA_SET[:500]), pdv(MR, DATA | LAST, DATA_SET[500:])
)
SESSION = associate_request() + ECHO + STORE + pdu(A_RELEASE_RQ)

few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Receiver:
    listener: Listener
    port: int
    db: Database
    files: InstanceFiles

    def assert_alive_and_clean(self) -> None:
        """It serves the next sender, and has neither half a file nor a file without a row."""
        with RawPeer(self.port) as peer:
            peer.associate()
            peer.send(ECHO)
            assert peer.reply().status == 0
            peer.release()
        incoming = self.files.incoming_dir
        wait_until(lambda: not list(incoming.iterdir()), what="an empty incoming folder")
        kept = set((self.files.data_dir / "instances").rglob("*.dcm"))
        rows = {self.files.absolute(row.path) for row in instances_of_series(self.db, SERIES)}
        assert rows <= kept

    def end_of(self, content: bytes) -> int | None:
        """Send bytes and then nothing more; return the type of the last PDU that came."""
        last = None
        with RawPeer(self.port) as peer:
            try:
                peer.send(content)
                peer.connection.shutdown(socket.SHUT_WR)
                while answer := peer.receive():
                    last = answer[0]
            except ConnectionError:
                return A_ABORT  # it was aborted while we still sent
        return last


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with tempfile.TemporaryDirectory() as folder:
        db = migrated_database(Path(folder) / "radnode.db")
        files = InstanceFiles(Path(folder) / "data")
        senders = (SenderSettings(ae_title="PACS"),)
        chosen = receive_settings(senders=senders, network_timeout_s=5, max_associations=4)
        listener = Listener(chosen, db, files, on_change=lambda: None)
        yield Receiver(listener, listener.start(), db, files)
        listener.stop()
        db.close()


def _mutated(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Overwrite, delete or insert: at a place, so many bytes are replaced by others."""
    for place, removed, added in changes:
        at = place % (len(content) + 1)
        content = content[:at] + added + content[at + removed :]
    return content


mutations = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=len(SESSION)),
        st.integers(min_value=0, max_value=6),
        st.binary(max_size=6),
    ),
    min_size=1,
    max_size=4,
)

random_pdvs = st.builds(
    pdv,
    st.sampled_from([0, 1, 2, 3, 5, 255]),
    st.integers(min_value=0, max_value=255),
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([DATA_SET, DATA_SET[:99], store_command(f"{SERIES}.1"), ECHO[12:]]),
    ),
    length=st.one_of(st.none(), st.none(), st.integers(min_value=0, max_value=2**32 - 1)),
)
random_pdus = st.one_of(
    st.lists(random_pdvs, max_size=4).map(lambda pdvs: p_data(*pdvs)),
    st.builds(pdu, st.integers(min_value=0, max_value=255), st.binary(max_size=80)),
    st.builds(
        pdu,
        st.integers(min_value=0, max_value=8),
        st.binary(max_size=20),
        length=st.integers(min_value=0, max_value=2**32 - 1),
    ),
    st.sampled_from([ECHO, STORE, STORE[:-40], pdu(A_RELEASE_RQ), pdu(A_ABORT), SESSION]),
)


@few
@given(changes=mutations)
def test_a_session_with_mistakes_in_it_does_no_harm(
    receiver: Receiver, changes: list[tuple[int, int, bytes]]
) -> None:
    receiver.end_of(_mutated(SESSION, changes))

    receiver.assert_alive_and_clean()


@few
@given(pdus=st.lists(random_pdus, max_size=8))
def test_any_pdus_after_the_handshake_do_no_harm(receiver: Receiver, pdus: list[bytes]) -> None:
    receiver.end_of(associate_request() + b"".join(pdus))

    receiver.assert_alive_and_clean()


@few
@given(content=st.binary(max_size=300))
def test_any_bytes_instead_of_a_request_end_the_connection(
    receiver: Receiver, content: bytes
) -> None:
    assert receiver.end_of(content) in (None, A_ABORT, A_ASSOCIATE_RJ)

    receiver.assert_alive_and_clean()


@few
@given(items=st.binary(max_size=200), length=st.integers(min_value=0, max_value=80))
def test_any_items_in_a_request_get_an_answer(
    receiver: Receiver, items: bytes, length: int
) -> None:
    head = associate_request()[6 : 74 + length]

    receiver.end_of(pdu(1, head + items) + STORE)

    receiver.assert_alive_and_clean()


@few
@given(
    changes=mutations,
    context=st.sampled_from([3, 5]),
)
def test_any_data_set_is_stored_or_refused_with_a_status(
    receiver: Receiver, changes: list[tuple[int, int, bytes]], context: int
) -> None:
    content = _mutated(DATA_SET, changes)
    with RawPeer(receiver.port) as peer:
        peer.associate()
        status = peer.store(context, f"{SERIES}.1", content)
        assert status in (0x0000, 0xA900, QUARANTINED, 0xC000)
        assert peer.store(3, f"{SERIES}.1", DATA_SET) in (0x0000, QUARANTINED)
        peer.release()

    receiver.assert_alive_and_clean()
