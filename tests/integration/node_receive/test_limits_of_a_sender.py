"""What a sender may send, how much at once and how fast, over the wire."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from config.settings import SenderSettings
from node.receive.sender_policy import MIB
from storage.rejections import list_rejections
from storage.studies import list_studies
from tests.integration.node_receive.ended_associations import wait_for_nothing_incoming
from tests.integration.node_receive.mr_study import ROOT, SERIES, mr_instance, mr_series, write
from tests.integration.node_receive.running_listener import (
    CALLED,
    CALLING,
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import (
    association,
    encoded,
    raw_file,
    rejection_of,
    request,
    store,
)
from tests.peers.dcmtk import storescu
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import (
    COMMAND,
    DATA,
    EXPLICIT,
    LAST,
    RawPeer,
    accepted_contexts,
    associate_request,
    context,
    p_data,
    pdv,
    store_command,
)

StartWith = Callable[..., Running]
NOT_AUTHORIZED = 0x0124
ABSTRACT_SYNTAX_NOT_SUPPORTED = 3


@pytest.fixture
def start_with(start_listener: StartListener) -> StartWith:
    def start(**limits: object) -> Running:
        sender = SenderSettings.model_validate({"ae_title": CALLING, **limits})
        return start_listener(receive_settings(senders=(sender,)))

    return start


def _sop_instances(running: Running) -> int:
    return sum(1 for _ in running.files.absolute("instances").rglob("*.dcm"))


def test_what_was_agreed_with_one_sender_is_not_agreed_with_another(
    start_listener: StartListener,
) -> None:
    senders = [{"ae_title": "ONLYCT", "sop_classes": ["ct"]}, {"ae_title": "ANYTHING"}]
    given = tuple(SenderSettings.model_validate(each) for each in senders)
    running = start_listener(receive_settings(senders=given))
    results = []
    for title in (b"ANYTHING", b"ONLYCT", b"ANYTHING", b"ONLYCT"):
        with RawPeer(running.port) as peer:
            asked = associate_request([context(1, MRImageStorage, EXPLICIT)], calling=title)
            results.append(accepted_contexts(peer.associate(asked)))

    refused = {1: ABSTRACT_SYNTAX_NOT_SUPPORTED}
    assert results == [{1: 0}, refused, {1: 0}, refused]


def test_contexts_of_sop_classes_that_it_may_not_send_are_not_accepted(
    start_with: StartWith,
) -> None:
    running = start_with(sop_classes=["ct"])
    with RawPeer(running.port) as peer:
        answers = accepted_contexts(peer.associate())
    assert answers == {1: 0, 3: ABSTRACT_SYNTAX_NOT_SUPPORTED, 5: ABSTRACT_SYNTAX_NOT_SUPPORTED}


def test_only_the_allowed_of_several_contexts_are_accepted(start_with: StartWith) -> None:
    running = start_with(sop_classes=[MRImageStorage])
    proposed = [(uid, ExplicitVRLittleEndian) for uid in (CTImageStorage, MRImageStorage)]
    with association(running.port, proposed) as assoc:
        accepted = [context.abstract_syntax for context in assoc.accepted_contexts]
    assert accepted == [MRImageStorage]


@pytest.mark.peer("dcmtk")
def test_storescu_is_told_what_it_may_not_send_and_sends_the_rest(
    start_with: StartWith, tmp_path: Path
) -> None:
    running = start_with(sop_classes=["mr"])
    other = mr_instance(9, series=f"{SERIES}.9")
    other.SOPClassUID = CTImageStorage
    files = [*mr_series(tmp_path / "mr", 2), write(other, tmp_path / "ct")]
    sent = storescu(running.port, files, calling=CALLING, called=CALLED)
    assert "No presentation context for: (CT)" in sent.stdout
    assert _sop_instances(running) == 2


def test_an_instance_that_is_too_large_is_refused_and_nothing_of_it_is_kept(
    start_with: StartWith, tmp_path: Path
) -> None:
    running = start_with(max_instance_mib=1)
    large = write(mr_instance(2, side=1024), tmp_path / "large")
    (small,) = mr_series(tmp_path / "small", 1)
    with association(running.port) as assoc:
        assert store(assoc, large, small) == [NOT_AUTHORIZED, 0x0000]
    assert _sop_instances(running) == 1
    wait_for_nothing_incoming(running)


def test_a_small_data_set_that_inflates_to_a_large_one_is_too_large(
    start_with: StartWith, tmp_path: Path
) -> None:
    running = start_with(max_instance_mib=1)
    dataset = mr_instance(2)
    dataset.PixelData = bytes(MIB)
    packed = zlib.compress(encoded(dataset), wbits=-zlib.MAX_WBITS)
    syntax = DeflatedExplicitVRLittleEndian
    uid = dataset.SOPInstanceUID
    path = raw_file(tmp_path / "a", packed, sop_instance_uid=uid, transfer_syntax_uid=syntax)
    with association(running.port, [(MRImageStorage, syntax)]) as assoc:
        assert store(assoc, path) == [NOT_AUTHORIZED]
    assert _sop_instances(running) == 0


def test_the_file_goes_as_soon_as_the_limit_is_passed_and_not_at_the_end(
    start_with: StartWith,
) -> None:
    running = start_with(max_instance_mib=1)
    dataset = encoded(mr_instance(2, side=1024))
    with RawPeer(running.port) as peer:
        peer.associate()
        peer.send(p_data(pdv(3, COMMAND | LAST, store_command(f"{ROOT}.1.1.2"))))
        peer.send(p_data(pdv(3, DATA, dataset[:65536])))
        wait_until(lambda: any(running.files.incoming_dir.iterdir()), what="a growing file")
        for at in range(65536, MIB + 65536, 65536):
            peer.send(p_data(pdv(3, DATA, dataset[at : at + 65536])))
        wait_until(lambda: not any(running.files.incoming_dir.iterdir()), what="it to be gone")
        peer.send(p_data(pdv(3, DATA | LAST, dataset[-16:])))
        assert peer.reply().status == NOT_AUTHORIZED


def test_a_sender_that_is_too_fast_is_slowed_down_and_loses_nothing(
    start_with: StartWith, tmp_path: Path
) -> None:
    running = start_with(max_instances_per_s=20, max_mib_per_s=0.05)
    with association(running.port) as assoc:
        assert set(store(assoc, *mr_series(tmp_path, 40))) == {0x0000}
    assert _sop_instances(running) == 40


def test_a_wait_that_is_ours_is_not_taken_for_the_senders_silence(
    start_listener: StartListener, tmp_path: Path
) -> None:
    sender = SenderSettings(ae_title=CALLING, max_mib_per_s=0.02)
    settings = receive_settings(senders=(sender,), dimse_timeout_s=0.3, max_pdu_bytes=4096)
    running = start_listener(settings)
    path = write(mr_instance(2, side=128), tmp_path)
    with association(running.port) as assoc:
        assert store(assoc, path) == [0x0000]


def test_a_node_that_stops_does_not_wait_for_a_slowed_sender(
    start_with: StartWith, tmp_path: Path
) -> None:
    running = start_with(max_mib_per_s=0.0001)
    dataset = encoded(mr_instance(2, side=64))
    with RawPeer(running.port) as peer:
        peer.associate()
        peer.send(p_data(pdv(3, COMMAND | LAST, store_command(f"{ROOT}.1.1.2"))))
        peer.send(p_data(pdv(3, DATA, dataset[:4096])))
        wait_until(lambda: any(running.files.incoming_dir.iterdir()), what="the transfer")
        running.listener.stop()
        assert list(running.files.incoming_dir.iterdir()) == []


def test_one_association_too_many_of_a_sender_is_rejected_for_now(start_with: StartWith) -> None:
    running = start_with(max_associations=1)
    with association(running.port):
        assert rejection_of(request(running.port)) == (2, 3, 2)
    (row,) = wait_until(lambda: list_rejections(running.db, 10), what="a counted rejection")
    assert row.reason == "too_many_associations_of_sender"
    with association(running.port):
        pass


@pytest.mark.peer("orthanc")
def test_orthanc_is_let_in_under_its_own_title_only(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(receive_settings(senders=(SenderSettings(ae_title="ARCHIVE"),)))
    (path,) = mr_series(tmp_path, 1)
    for title, stored in (("STRANGER", 0), ("ARCHIVE", 1)):
        node = Modality("node", CALLED, running.port)
        with Orthanc([node], aet=title) as orthanc:
            instance = orthanc.upload(path)
            failed = orthanc.try_to_send("node", instance)
        assert (failed, len(list_studies(running.db, 10))) == (not stored, stored)


@pytest.mark.parametrize(
    ("host", "address", "network"),
    [
        ("::1", "::1", "::1/128"),
        ("::", "::1", "::1/128"),
        ("::", "127.0.0.1", "127.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1/32"),
    ],
    ids=["ipv6", "every ipv6", "ipv4 mapped", "ipv4"],
)
def test_addresses_are_known_in_either_family(
    start_listener: StartListener, host: str, address: str, network: str
) -> None:
    here = SenderSettings(ae_title=CALLING, addresses=(ip_network(network),))
    elsewhere = SenderSettings(ae_title="OTHER", addresses=(ip_network("fd00::/64"),))
    running = start_listener(receive_settings(host=host, senders=(here, elsewhere)))
    assert request(running.port, host=address).is_established
    assert rejection_of(request(running.port, calling="OTHER", host=address)) == (1, 1, 3)
