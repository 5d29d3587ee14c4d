from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from config.load import load_settings
from node import cli
from node.data_directory import kept_data
from storage.deliveries import claim_next_delivery, list_deliveries, settle_dead
from storage.dicom_records import StudyState
from storage.instance_files import uid_tag
from storage.jobs import fail_job, get_job
from storage.migrate import migrate
from storage.records import DeliveryState, JobState, Refusal
from storage.studies import get_study, route
from tests.unit.storage.samples import (
    NOW,
    PATIENT,
    STUDY,
    WORKER,
    claim,
    make_deliveries,
    make_job,
    make_ready,
    receive,
)


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["radnode", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int | None)
        return Done(ended.value.code or 0, out, err)

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return _config(tmp_path)


def _config(tmp_path: Path, **sections: Any) -> Path:
    path = tmp_path / "node.yaml"
    settings = {
        "node": {"data_dir": "data"},
        "receive": {"senders": [{"ae_title": "PACS"}]},
        **sections,
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def node_with_job(tmp_path: Path, config: Path) -> Path:
    """A data directory with one failed job; its configuration."""
    with kept_data(load_settings(config)) as db:
        migrate(db)
        job_id = make_job(db)
        claim(db)
        fail_job(db, job_id, worker_id=WORKER, code="x", text="broke", retry_at=None, now=NOW)
    return config


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    done = run()

    assert "check-config" in done.out + done.err
    assert "worker" not in [word.strip("│ ") for word in (done.out + done.err).split("\n")]


def test_a_wrong_option_is_a_usage_error(run: Run) -> None:
    assert run("status", "--nonsense").code == 2


def test_a_right_configuration_is_ok(run: Run, config: Path) -> None:
    done = run("check-config", "--config", str(config))

    assert (done.code, done.err) == (0, "")
    assert done.out == f"{config}: ok; pipelines: hippocampus_mr\n"


def test_every_problem_of_a_configuration_is_one_line_with_key_value_and_file(
    run: Run, tmp_path: Path
) -> None:
    config = _config(tmp_path, worker={"max_attempts": 0, "device": "gpu"})

    done = run("check-config", "--config", str(config))

    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert len(lines) == 2
    for key, value in (("worker.max_attempts", "0"), ("worker.device", "gpu")):
        assert any(key in line and value in line and "node.yaml" in line for line in lines)


def test_a_missing_configuration_is_named(run: Run, tmp_path: Path) -> None:
    done = run("check-config", "--config", str(tmp_path / "none.yaml"))

    assert done.code == 2
    assert "none.yaml" in done.err


def test_the_configuration_can_be_given_by_the_environment(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADNODE_CONFIG", str(config))

    assert run("check-config").code == 0


def test_a_configuration_in_its_usual_place_is_found(
    run: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    config.rename(tmp_path / "config" / "node.yaml")
    monkeypatch.chdir(tmp_path)

    assert str(tmp_path / "config" / "node.yaml") in run("check-config").out


def test_without_any_configuration_the_defaults_are_refused_because_nobody_may_send(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    done = run("check-config")

    assert done.code == 2
    assert "receive.senders" in done.err


def test_a_pipeline_that_is_not_there_is_a_problem_of_the_configuration(
    run: Run, tmp_path: Path
) -> None:
    config = _config(tmp_path, pipelines={"enabled": ["liver_ct"]})

    done = run("check-config", "--config", str(config))

    assert done.code == 2
    assert "liver_ct" in done.err


def test_a_missing_pipeline_is_told_beside_every_other_fault(run: Run, tmp_path: Path) -> None:
    faults = {"pipelines": {"enabled": ["nope", "nada"]}, "worker": {"lease_s": 1}}
    config = _config(tmp_path, **faults, log={"level": "loud"})

    done = run("check-config", "--config", str(config))

    assert (done.code, done.out) == (2, "")
    told = done.err.splitlines()
    assert len(told) == 4
    for words in ("log.level = 'loud'", "worker.lease_s", "= nope:", "= nada:"):
        assert any(words in line for line in told)


def test_sections_at_fault_are_not_judged_twice(run: Run, tmp_path: Path) -> None:
    config = _config(tmp_path, receive={"port": "x"}, destinations=[{"type": "x"}])

    done = run("check-config", "--config", str(config))

    assert len(done.err.splitlines()) == 2


def test_migrating_makes_the_database_and_tells_its_revision(run: Run, config: Path) -> None:
    done = run("migrate", "--config", str(config))

    assert done.code == 0
    assert done.out.startswith("database revision ")
    told = json.loads(run("status", "--json", "--config", str(config)).out)
    assert told == {"studies": [], "rejections": [], "certificate_warnings": []}


def test_the_status_of_a_node_that_never_ran_is_an_error_in_one_line(
    run: Run, config: Path
) -> None:
    done = run("status", "--config", str(config))

    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert "no database yet" in done.err


def test_the_status_shows_studies_by_tag_and_no_patient(run: Run, node_with_job: Path) -> None:
    shown = run("status", "--config", str(node_with_job)).out
    as_json = run("status", "--json", "--config", str(node_with_job)).out

    assert uid_tag(STUDY) in shown
    assert json.loads(as_json)["studies"][0]["jobs"][0]["state"] == "failed"
    for text in (PATIENT.patient_id, "Doe", PATIENT.birth_date):
        assert text not in shown + as_json


def test_a_failed_job_can_be_tried_again_once(run: Run, node_with_job: Path) -> None:
    first = run("retry", "1", "--config", str(node_with_job))
    second = run("retry", "1", "--config", str(node_with_job))

    assert (first.code, first.out) == (0, "job 1 is queued\n")
    assert second.code == 1
    assert "job 1" in second.err
    with kept_data(load_settings(node_with_job)) as db:
        assert get_job(db, 1).state is JobState.QUEUED


def test_a_job_that_is_not_there_is_named(run: Run, node_with_job: Path) -> None:
    done = run("retry", "99", "--config", str(node_with_job))

    assert done.code == 1
    assert done.err == "radnode: there is no job 99\n"


def test_a_study_that_no_pipeline_took_is_routed_again(run: Run, config: Path) -> None:
    with kept_data(load_settings(config)) as db:
        migrate(db)
        receive(db)
        generation = make_ready(db)
        refusal = Refusal("no_pipeline_matches", "none")
        (job_id,) = route(db, STUDY, generation=generation, jobs=(), refusal=refusal, now=NOW)

    done = run("retry", str(job_id), "--config", str(config))

    assert done.code == 0
    with kept_data(load_settings(config)) as db:
        assert get_study(db, STUDY).state is StudyState.READY


def test_a_dead_delivery_can_be_tried_again(run: Run, config: Path) -> None:
    with kept_data(load_settings(config)) as db:
        migrate(db)
        make_deliveries(db, "pacs")
        delivery = claim_next_delivery(
            db, destination="pacs", worker_id=WORKER, lease_s=60, now=NOW
        )
        assert delivery
        number = delivery.delivery_id
        settle_dead(db, number, worker_id=WORKER, code="x", text="broke", now=NOW)

    done = run("retry-delivery", str(number), "--config", str(config))

    assert (done.code, done.out) == (0, f"delivery {number} is pending, due now\n")
    with kept_data(load_settings(config)) as db:
        assert list_deliveries(db)[0].state is DeliveryState.PENDING


def test_a_waiting_delivery_is_hurried_by_its_number(run: Run, config: Path) -> None:
    late = NOW.replace(year=9000)
    with kept_data(load_settings(config)) as db:
        migrate(db)
        make_deliveries(db, "ehr", now=late)
        number = list_deliveries(db)[0].delivery_id

    done = run("retry-delivery", str(number), "--config", str(config))

    assert (done.code, done.err) == (0, "")
    with kept_data(load_settings(config)) as db:
        assert list_deliveries(db)[0].due_at < late


def test_sending_to_nobody_is_an_error_in_one_line(run: Run, tmp_path: Path) -> None:
    from tests.acceptance.small_study import write_small_study
    from tests.peers.ports import free_port

    write_small_study(tmp_path / "study")
    target = ["--host", "127.0.0.1", "--port", str(free_port()), "--called", "A", "--calling", "B"]

    done = run("send", str(tmp_path / "study"), *target)

    assert done.code == 1
    assert [line for line in done.err.splitlines() if not line.startswith("{")]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "option",
    [("--calling", "THISISAVERYLONGAETITLE1"), ("--called", ""), ("--called", "Ä"), ("--host", "")],
)
def test_an_address_that_can_be_none_is_a_usage_error(
    run: Run, tmp_path: Path, option: tuple[str, str]
) -> None:
    target = ["--host", "127.0.0.1", "--port", "104", "--called", "A", "--calling", "B"]

    done = run("send", str(tmp_path), *target, *option)

    assert done.code == 2
    assert option[0] in done.err
    assert "internal error" not in done.err


def test_sending_an_empty_folder_is_a_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    target = ["--host", "127.0.0.1", "--port", "104", "--called", "A", "--calling", "B"]

    done = run("send", str(tmp_path / "empty"), *target)

    assert (done.code, done.out) == (1, "0 stored, 0 failed, 0 skipped (not DICOM)\n")


def test_an_unforeseen_error_leaves_class_and_place_but_not_its_text(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path | None) -> None:
        raise ValueError("Doe^Jane")

    monkeypatch.setattr(cli, "load_settings", broken)

    done = run("migrate", "--config", str(config))

    assert done.code == 1
    assert "ValueError at " in done.err
    assert "Doe" not in done.err
