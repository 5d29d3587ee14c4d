"""`radnode status` with more than it lists: what needs a person stays, and the rest is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config.load import load_settings
from node.data_directory import kept_data
from storage.errors import ConflictReason, IdentityConflict
from storage.instance_files import InstanceFiles
from storage.migrate import migrate
from storage.quarantine import quarantine
from storage.rejections import RejectionCount, add_rejections
from tests.unit.node_service.cli_runs import Run, config, run
from tests.unit.storage.kept_files import kept
from tests.unit.storage.samples import NOW, STUDY, incoming
from tests.unit.storage.test_unfinished import add_newer_studies, dead

__all__ = ["config", "run"]


@pytest.fixture
def busy_node(config: Path) -> Path:
    """An old study with a dead delivery, five refused ones, two instances in quarantine."""
    settings = load_settings(config)
    files = InstanceFiles(settings.node.data_dir)
    conflict = IdentityConflict(ConflictReason.OTHER_PATIENT, "another patient")
    with kept_data(settings) as db:
        migrate(db)
        dead(db)
        add_newer_studies(db, 5)
        for number in (8, 9):
            quarantine(db, files, kept(files, incoming(number)), conflict)
        callers = [RejectionCount("disk_low", f"CT{n}", "10.0.0.1", 1, NOW, NOW) for n in range(23)]
        add_rejections(db, callers)
    return config


def shown(run: Run, config: Path, *options: str) -> str:
    return run("status", "--config", str(config), *options).out


def told(run: Run, config: Path, *options: str) -> dict[str, Any]:
    found = json.loads(shown(run, config, "--json", *options))
    assert isinstance(found, dict)
    return found


def test_the_table_has_a_dead_delivery_beyond_its_limit_and_counts_what_it_leaves_out(
    run: Run, busy_node: Path
) -> None:
    lines = shown(run, busy_node, "--limit", "2").splitlines()

    assert any("dead" in line for line in lines)
    assert "3 older studies, in which nothing waits, are left out: --limit" in lines


def test_the_json_has_a_dead_delivery_beyond_its_limit_and_counts_what_it_leaves_out(
    run: Run, busy_node: Path
) -> None:
    found = told(run, busy_node, "--limit", "2")

    assert [study["study_instance_uid"] for study in found["studies"]] == ["1.2.4", "1.2.3", STUDY]
    assert found["studies"][-1]["jobs"][0]["deliveries"][0]["state"] == "dead"
    assert found["studies_left_out"] == 3


def test_where_nothing_is_left_out_nothing_is_said_of_it(run: Run, busy_node: Path) -> None:
    assert "left out" not in shown(run, busy_node)
    assert told(run, busy_node)["studies_left_out"] == 0


def test_without_a_terminal_no_code_is_broken_and_a_refused_study_takes_one_line(
    run: Run, busy_node: Path
) -> None:
    out = shown(run, busy_node)

    assert out.count("refused - no_pipeline_matches: none") == 5
    assert sum("dead - refused: why (try 1)" in line for line in out.splitlines()) == 1
    assert max(map(len, out.splitlines())) < 200


def test_all_of_the_quarantine_is_shown_whatever_the_limit(run: Run, busy_node: Path) -> None:
    found = told(run, busy_node, "--limit", "1")["quarantine"]

    assert (found["count"], len(found["instances"])) == (2, 2)
    assert shown(run, busy_node, "--limit", "1").count("other_patient") == 2


def test_titles_that_look_like_markup_or_an_emoji_are_shown_as_they_are(
    run: Run, busy_node: Path
) -> None:
    settings = load_settings(busy_node)
    files = InstanceFiles(settings.node.data_dir)
    conflict = IdentityConflict(ConflictReason.OTHER_PATIENT, "another patient")
    with kept_data(settings) as db:
        for number, title in enumerate(("[/CT]", "[red]MR", ":ship:"), start=10):
            one = kept(files, incoming(number))._replace(calling_ae_title=title)
            quarantine(db, files, one, conflict)

    listed = run("quarantine", "list", "--config", str(busy_node)).out
    for title in ("[/CT]", "[red]MR", ":ship:"):
        assert title in shown(run, busy_node)
        assert title in listed


def test_the_list_of_the_quarantine_says_how_many_it_leaves_out(run: Run, busy_node: Path) -> None:
    options = ("quarantine", "list", "--config", str(busy_node), "--limit", "1")

    assert run(*options).err == "radnode: 1 more, older, are not listed: --limit\n"
    assert len(json.loads(run(*options, "--json").out)) == 1
    assert run("quarantine", "list", "--config", str(busy_node)).err == ""


def test_of_many_callers_that_were_turned_away_the_table_counts_those_that_it_leaves_out(
    run: Run, busy_node: Path
) -> None:
    assert "3 more were turned away before: --json names them" in shown(run, busy_node)
    assert len(told(run, busy_node)["rejections"]) == 23
