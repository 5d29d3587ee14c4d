from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.settings import CompletenessSettings, SenderSettings, Settings
from node.completeness import Completeness
from node.find_counts import ask_counts
from node.quiet_clock import Moment
from node.receive import slow_arrival
from storage.dicom_records import StudyState
from storage.studies import get_study, open_studies
from tests.integration.node_receive.counting_pacs import CountingPacs
from tests.integration.node_receive.mr_study import SERIES, STUDY, mr_instance, mr_series, write
from tests.integration.node_receive.running_listener import (
    CALLED,
    CALLING,
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import association, encoded, store
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port, wait_until
from tests.peers.raw_dicom import COMMAND, DATA, LAST, RawPeer, p_data, pdv, store_command

QUIET = CompletenessSettings(quiet_time_s=10, quiet_time_after_abort_s=60, find_timeout_s=3)


def _settings(find_port: int | None = None, find_ae_title: str = "COUNTING") -> Settings:
    host = "127.0.0.1" if find_port else None
    sender = SenderSettings(
        ae_title=CALLING, find_host=host, find_port=find_port, find_ae_title=find_ae_title
    )
    return receive_settings(senders=(sender,)).model_copy(update={"completeness": QUIET})


def _send(running: Running, *paths: Path) -> None:
    with association(running.port) as assoc:
        assert set(store(assoc, *paths)) == {0}
    assert running.changes.acquire(timeout=10)


def _completeness(running: Running) -> Completeness:
    return Completeness(running.settings, running.db, ask_counts)


def _in(seconds: float) -> Moment:
    return Moment(datetime.now(UTC) + timedelta(seconds=seconds), time.monotonic() + seconds)


def _look(completeness: Completeness, moment: Moment) -> tuple[str, ...]:
    """Look, and once more when every PACS has answered."""
    found = completeness.check(moment)
    wait_until(lambda: not completeness.questions, what="the answers of PACS")
    return found or completeness.check(moment)


def test_without_a_witness_the_quiet_time_decides(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(_settings())
    _send(running, *mr_series(tmp_path, 2))
    completeness = _completeness(running)

    assert _look(completeness, _in(5)) == ()
    assert _look(completeness, _in(11)) == (STUDY,)

    study = get_study(running.db, STUDY)
    assert study.state is StudyState.READY
    assert study.complete_evidence == "quiet_time"
    assert _look(completeness, _in(100)) == ()


def test_a_running_association_holds_a_study_open(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(_settings())
    first, second = mr_series(tmp_path, 2)
    completeness = _completeness(running)
    with association(running.port) as assoc:
        store(assoc, first)
        assert _look(completeness, _in(1000)) == ()
        store(assoc, second)
    assert running.changes.acquire(timeout=10)

    assert _look(completeness, _in(1000)) == (STUDY,)


def test_an_association_holds_a_study_from_its_first_instance_on_that_takes_long(
    start_listener: StartListener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two associations side by side: one is through when the other's first object still comes."""
    monkeypatch.setattr(slow_arrival, "LONG_S", 0.01)
    running = start_listener(_settings())
    _send(running, *mr_series(tmp_path, 1))
    completeness = _completeness(running)
    content = encoded(mr_instance(2))
    begin, rest = content[:-500], list(content[-500:])
    with RawPeer(running.port) as peer:
        peer.associate()
        peer.send(p_data(pdv(3, COMMAND | LAST, store_command(f"{SERIES}.2"))))

        def holds() -> bool:
            peer.send(p_data(pdv(3, DATA, bytes([rest.pop(0)]))))
            return _running_associations(running) == 1

        peer.send(p_data(pdv(3, DATA, begin)))
        wait_until(holds, what="an association that is tied to the study")
        assert _look(completeness, _in(1000)) == ()
        peer.send(p_data(pdv(3, DATA | LAST, bytes(rest))))
        assert peer.reply().status == 0
        peer.release()
    assert running.changes.acquire(timeout=10)
    assert _look(completeness, _in(1000)) == (STUDY,)


def _running_associations(running: Running) -> int:
    (progress,) = open_studies(running.db)
    return progress.running_associations


def test_equal_counts_make_a_study_ready_at_once(
    start_listener: StartListener, tmp_path: Path
) -> None:
    with CountingPacs({SERIES: ("MR", 2), "1.2.9": ("SR", 1)}) as pacs:
        running = start_listener(_settings(pacs.port))
        _send(running, *mr_series(tmp_path, 2))

        assert _look(_completeness(running), _in(1.5)) == (STUDY,)

    assert get_study(running.db, STUDY).complete_evidence == "pacs_counts"


def _corrected(number: int, folder: Path) -> Path:
    dataset = mr_instance(number)
    dataset.SeriesDescription = "T1 3D corrected"
    return write(dataset, folder)


def test_counts_prove_nothing_while_a_study_is_sent_again_with_another_content(
    start_listener: StartListener, tmp_path: Path
) -> None:
    with CountingPacs({SERIES: ("MR", 2)}) as pacs:
        running = start_listener(_settings(pacs.port))
        _send(running, *mr_series(tmp_path, 2))
        completeness = _completeness(running)
        assert _look(completeness, _in(1.5)) == (STUDY,)

        _send(running, _corrected(1, tmp_path / "again"))
        assert _look(completeness, _in(5)) == ()
        _send(running, _corrected(2, tmp_path / "again"))
        assert _look(completeness, _in(5)) == (STUDY,)

    study = get_study(running.db, STUDY)
    assert (study.generation, study.complete_evidence) == (2, "pacs_counts")


def test_a_pacs_with_more_is_waited_for_and_asked_again_when_more_has_come(
    start_listener: StartListener, tmp_path: Path
) -> None:
    paths = mr_series(tmp_path, 3)
    with CountingPacs({SERIES: ("MR", 3)}) as pacs:
        running = start_listener(_settings(pacs.port))
        completeness = _completeness(running)
        _send(running, *paths[:2])
        assert _look(completeness, _in(2)) == ()
        assert _look(completeness, _in(30)) == ()

        _send(running, *paths[2:])
        assert _look(completeness, _in(2)) == (STUDY,)

    assert get_study(running.db, STUDY).complete_evidence == "pacs_counts"


def test_a_pacs_that_counts_wrong_does_not_block_for_ever(
    start_listener: StartListener, tmp_path: Path
) -> None:
    with CountingPacs({SERIES: ("MR", 300)}) as pacs:
        running = start_listener(_settings(pacs.port))
        _send(running, *mr_series(tmp_path, 2))

        completeness = _completeness(running)
        assert _look(completeness, _in(2)) == ()
        assert _look(completeness, _in(61)) == (STUDY,)

    evidence = get_study(running.db, STUDY).complete_evidence
    assert evidence == "quiet_time (the PACS has more instances than have come)"


def test_the_same_question_is_not_asked_every_second(
    start_listener: StartListener, tmp_path: Path
) -> None:
    with CountingPacs({SERIES: ("MR", 300)}) as pacs:
        running = start_listener(_settings(pacs.port))
        _send(running, *mr_series(tmp_path, 2))
        completeness = _completeness(running)

        for second in range(2, 50):
            _look(completeness, _in(second))

    # After 5, 10 and 20 seconds more: the wait doubles.
    assert pacs.asked == 4


def test_while_an_association_runs_the_pacs_is_asked_less_and_less_often(
    start_listener: StartListener, tmp_path: Path
) -> None:
    paths = mr_series(tmp_path, 30)
    with CountingPacs({SERIES: ("MR", 30)}) as pacs:
        running = start_listener(_settings(pacs.port))
        completeness = _completeness(running)
        with association(running.port) as assoc:
            for number, path in enumerate(paths[:29]):
                store(assoc, path)
                assert _look(completeness, _in(number + 0.5)) == ()
            # At 0, 1, 3, 7 and 15 seconds, however many instances have come meanwhile.
            assert pacs.asked == 5
            store(assoc, paths[29])
        assert running.changes.acquire(timeout=10)
        assert _look(completeness, _in(30)) == (STUDY,)


def test_counts_prove_a_study_while_its_association_is_still_open(
    start_listener: StartListener, tmp_path: Path
) -> None:
    with CountingPacs({SERIES: ("MR", 1)}) as pacs:
        running = start_listener(_settings(pacs.port))
        with association(running.port) as assoc:
            store(assoc, write(mr_instance(), tmp_path))
            assert _look(_completeness(running), _in(0.5)) == (STUDY,)

    assert get_study(running.db, STUDY).complete_evidence == "pacs_counts"


@pytest.mark.parametrize("delay_s", [0.0, 4.0])
def test_a_dead_or_slow_pacs_leaves_it_to_the_quiet_time(
    start_listener: StartListener, tmp_path: Path, delay_s: float
) -> None:
    with CountingPacs({SERIES: ("MR", 2)}, delay_s=delay_s) as pacs:
        port = pacs.port if delay_s else free_port()
        running = start_listener(_settings(port))
        _send(running, *mr_series(tmp_path, 2))
        completeness = _completeness(running)

        assert _look(completeness, _in(2)) == ()
        assert _look(completeness, _in(11)) == (STUDY,)
        completeness.close()

    assert get_study(running.db, STUDY).complete_evidence == "quiet_time"


@pytest.mark.peer("dcmtk")
def test_an_aborting_sender_is_given_more_time(
    start_listener: StartListener, tmp_path: Path
) -> None:
    from tests.peers.dcmtk import storescu

    running = start_listener(_settings())
    paths = mr_series(tmp_path, 2)
    storescu(running.port, paths, calling=CALLING, called=CALLED, options=["--abort"])
    assert running.changes.acquire(timeout=10)
    completeness = _completeness(running)

    assert _look(completeness, _in(30)) == ()
    assert _look(completeness, _in(61)) == (STUDY,)
    assert get_study(running.db, STUDY).complete_evidence == "quiet_time_after_abort"


@pytest.mark.peer("orthanc")
def test_orthanc_routes_a_study_and_its_counts_confirm_it(
    start_listener: StartListener, tmp_path: Path
) -> None:
    port = free_port()
    with Orthanc([Modality("radnode", CALLED, port)], aet=CALLING) as orthanc:
        settings = _settings(orthanc.dicom_port, orthanc.aet)
        receive = settings.receive.model_copy(update={"port": port})
        running = start_listener(settings.model_copy(update={"receive": receive}))
        for path in mr_series(tmp_path, 4):
            orthanc.upload(path)
        study_id = orthanc.study_id(STUDY)
        assert study_id is not None

        orthanc.send_to_modality("radnode", study_id)

        wait_until(lambda: _association_ended(running), what="Orthanc's release")
        assert _look(_completeness(running), _in(2)) == (STUDY,)

    study = get_study(running.db, STUDY)
    assert study.complete_evidence == "pacs_counts"


def _association_ended(running: Running) -> bool:
    return [progress.last_association_end for progress in open_studies(running.db)] == ["released"]
