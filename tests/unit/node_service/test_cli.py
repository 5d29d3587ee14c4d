from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.send import FileReport, SendReport
from tests.unit.node_service.cli_runs import Run, config, run, write_config

__all__ = ["config", "run"]


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
    config = write_config(tmp_path, worker={"max_attempts": 0, "device": "gpu"})

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


@pytest.mark.parametrize("place", ["/proc/nope", "/proc/nope/deeper"])
def test_a_data_directory_that_cannot_be_made_is_told_beside_every_other_fault(
    run: Run, tmp_path: Path, place: str
) -> None:
    config = write_config(tmp_path, node={"data_dir": place}, pipelines={"enabled": ["nope"]})

    done = run("check-config", "--config", str(config))

    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 2
    assert f"radnode: node.data_dir {place}: No such file or directory" in done.err.splitlines()


@pytest.mark.parametrize("place", ["volume", "volume/data"])
def test_a_data_directory_behind_a_link_that_leads_nowhere_is_told(
    run: Run, tmp_path: Path, place: str
) -> None:
    """As where a volume is not mounted."""
    link = tmp_path / "volume"
    link.symlink_to(tmp_path / "not mounted")
    config = write_config(tmp_path, node={"data_dir": str(tmp_path / place)})

    done = run("check-config", "--config", str(config))

    assert done.code == 2
    assert f"{link} is a link that leads nowhere" in done.err


def test_a_file_in_the_way_of_the_data_directory_is_told_once(run: Run, tmp_path: Path) -> None:
    config = write_config(tmp_path, node={"data_dir": "node.yaml/data"})

    done = run("check-config", "--config", str(config))

    assert (done.code, len(done.err.splitlines())) == (2, 1)


def test_checking_leaves_nothing_in_or_beside_the_data_directory(
    run: Run, config: Path, tmp_path: Path
) -> None:
    run("check-config", "--config", str(config))
    assert list(tmp_path.iterdir()) == [config]

    (tmp_path / "data").mkdir()
    assert run("check-config", "--config", str(config)).code == 0
    assert list((tmp_path / "data").iterdir()) == []


def test_a_pipeline_that_is_not_there_is_a_problem_of_the_configuration(
    run: Run, tmp_path: Path
) -> None:
    config = write_config(tmp_path, pipelines={"enabled": ["liver_ct"]})

    done = run("check-config", "--config", str(config))

    assert done.code == 2
    assert "liver_ct" in done.err


def test_a_missing_pipeline_is_told_beside_every_other_fault(run: Run, tmp_path: Path) -> None:
    faults = {"pipelines": {"enabled": ["nope", "nada"]}, "worker": {"lease_s": 1}}
    config = write_config(tmp_path, **faults, log={"level": "loud"})

    done = run("check-config", "--config", str(config))

    assert (done.code, done.out) == (2, "")
    told = done.err.splitlines()
    assert len(told) == 4
    for words in ("log.level = 'loud'", "worker.lease_s", "= nope:", "= nada:"):
        assert any(words in line for line in told)


def test_sections_at_fault_are_not_judged_twice(run: Run, tmp_path: Path) -> None:
    config = write_config(tmp_path, receive={"port": "x"}, destinations=[{"type": "x"}])

    done = run("check-config", "--config", str(config))

    assert len(done.err.splitlines()) == 2


def test_migrating_makes_the_database_and_tells_its_revision(run: Run, config: Path) -> None:
    done = run("migrate", "--config", str(config))

    assert done.code == 0
    assert done.out.startswith("database revision ")
    told = json.loads(run("status", "--json", "--config", str(config)).out)
    assert told.pop("quarantine") == {"count": 0, "instances": []}
    assert told.pop("machine")["is_running"] is False
    assert not any(told.values())
    studies = {"studies", "studies_left_out"}
    assert set(told) == {*studies, "rejections", "certificate_warnings", "settings_problems"}


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


def test_what_the_receiver_takes_with_a_warning_is_named_and_counted_apart(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (FileReport(Path("a.dcm"), 0x0000), FileReport(Path("b.dcm"), 0xB000))
    monkeypatch.setattr("node.send.send_folder", lambda *_: SendReport(files, ()))
    target = ["--host", "127.0.0.1", "--port", "104", "--called", "A", "--calling", "B"]

    done = run("send", str(tmp_path), *target)

    told = "1 stored, 1 taken with a warning, 0 failed, 0 skipped (not DICOM)\n"
    assert (done.code, done.out) == (0, told)
    assert done.err == "radnode: warning: b.dcm: status 0xB000: taken, but its log says more\n"


def test_an_unforeseen_error_leaves_class_and_place_but_not_its_text(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path | None) -> None:
        raise ValueError("Doe^Jane")

    monkeypatch.setattr("node.cli_options.load_settings", broken)

    done = run("migrate", "--config", str(config))

    assert done.code == 1
    assert "ValueError at " in done.err
    assert "Doe" not in done.err
