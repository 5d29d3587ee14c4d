"""Settings come from one file and the environment; every error says what, which and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import InvalidConfig
from config.load import database_url, load_settings
from config.settings import FolderDestination, Settings

SENDERS = "receive: {senders: [{ae_title: PACS}]}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "node.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load_settings(written(folder, text))
    return [str(problem) for problem in caught.value.problems]


def test_an_error_names_file_line_key_and_value(tmp_path: Path) -> None:
    lines = problems(tmp_path, "receive:\n  port: seventy\n")
    assert lines[0].startswith(f"{tmp_path / 'node.yaml'}:2: receive.port = 'seventy': ")


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    lines = problems(tmp_path, "receive: {port: 99999}\nnode: {timezone: Mars/Base}\n")
    assert len(lines) == 2
    assert any("IANA time zone" in line for line in lines)


def test_a_misspelt_key_is_an_error_and_not_a_default(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "recieve: {port: 104}\n")
    assert "recieve" in line
    assert "no such key" in line


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "log: {level: info}\nlog: {level: debug}\n")
    assert "given twice" in line
    assert "line 1 and 2" in line


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "a: [1\n", "\tb: 1\n"])
def test_a_file_that_is_no_mapping_is_an_error_and_no_traceback(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: {c: *a}}\n", "a: &a {<<: *a}\n"])
def test_a_value_that_holds_itself_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (line,) = problems(tmp_path, "\n" + text)
    assert line.startswith(f"{tmp_path / 'node.yaml'}: line 2 = ")
    assert "holds itself" in line


def test_aliases_that_grow_without_measure_are_refused(tmp_path: Path) -> None:
    levels = [f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 10)}]" for n in range(1, 12)]
    (line,) = problems(tmp_path, "\n".join(["k0: &k0 [x]", *levels]))
    assert "node.yaml: line 5 = " in line
    assert "aliases written out" in line


def test_a_value_may_be_used_again_by_an_alias(tmp_path: Path) -> None:
    retry = "retry: &r {first_s: 7}"
    out = (
        f"destinations: [{{type: folder, name: a, {retry}}}, {{type: folder, name: b, retry: *r}}]"
    )
    settings = load_settings(written(tmp_path, SENDERS + out))
    assert [one.retry.first_s for one in settings.destinations] == [7, 7]


def test_a_file_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "a: " + "[" * 3000 + "]" * 3000)
    assert "nested too deeply" in line


@pytest.mark.parametrize("value", ["2024-13-45", "!!int x", "!!bool x", "!!timestamp x", "!x y"])
def test_a_value_that_is_not_what_it_looks_like_is_named(tmp_path: Path, value: str) -> None:
    (line,) = problems(tmp_path, f"node:\n  institution_name: {value}\n")
    assert "node.institution_name = line 2: cannot be read" in line


@pytest.mark.parametrize(
    ("written_as", "message"),
    [
        ("10.0.0.1/8", "host bits set: write 10.0.0.0/8"),
        ("fd00::1/8", "host bits set: write fd00::/8"),
        ("pacs", "write a network such as 10.1.2.3/32"),
        ("10", "write a network such as 10.1.2.3/32"),
        ("10.0.0.0/33", "write a network such as 10.1.2.3/32"),
    ],
)
def test_a_wrong_network_is_one_problem_under_its_own_key(
    tmp_path: Path, written_as: str, message: str
) -> None:
    sender = "{ae_title: PACS, addresses: ['127.0.0.1', TEXT]}".replace("TEXT", written_as)
    (line,) = problems(tmp_path, f"receive: {{senders: [{sender}]}}\n")
    assert " receive.senders[0].addresses[1] = " in line
    assert line.endswith(f": {message}")


def test_a_missing_key_of_a_destination_is_named_as_a_file_has_it(tmp_path: Path) -> None:
    lines = problems(tmp_path, SENDERS + "destinations: [{type: dicom, name: a, port: 104}]\n")
    keys = [line.split(": ")[1].split(" = ")[0] for line in lines]
    assert keys == ["destinations[0].host", "destinations[0].ae_title"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("node: {ae_title: A-TITLE-FAR-TOO-LONG}", "1 to 16 ASCII characters"),
        ("worker: {device: gpu}", "auto, cpu, cuda or cuda:N"),
        ("destinations: [{type: folder, name: Report Folder}]", "lower case letters"),
        ("destinations: [{name: pacs}]", "it has no 'type'; see config/node.example.yaml"),
    ],
)
def test_what_a_value_has_to_be_is_told_in_words(tmp_path: Path, text: str, told: str) -> None:
    (line,) = problems(tmp_path, SENDERS + text)
    assert told in line
    assert "pattern" not in line


def test_wrong_and_unsafe_settings_are_told_together(tmp_path: Path) -> None:
    lines = problems(tmp_path, "receive: {host: 0.0.0.0, senders: []}\nlog: {level: loud}\n")
    assert ["log.level" in lines[0], "receive.senders" in lines[1]] == [True, True]


@pytest.mark.parametrize("url", ["http://[::1/fhir", "http://127.0.0.1:x/fhir", "http:///fhir"])
def test_a_fhir_address_that_cannot_be_read_is_a_problem(tmp_path: Path, url: str) -> None:
    ehr = f"destinations: [{{type: fhir, name: ehr, base_url: '{url}'}}]\n"
    (line,) = problems(tmp_path, SENDERS + ehr)
    assert "destinations[0].base_url" in line


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"absent\.yaml"):
        load_settings(tmp_path / "absent.yaml")


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADNODE_RECEIVE__PORT", "2222")
    settings = load_settings(written(tmp_path, SENDERS))
    assert settings.receive.port == 2222
    assert settings.receive.senders[0].ae_title == "PACS"


def test_an_error_in_the_environment_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADNODE_RECEIVE__PORT", "x")
    (line,) = problems(tmp_path, SENDERS)
    assert line.startswith("environment RADNODE_RECEIVE__PORT: receive.port = 'x'")


def test_an_unknown_variable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADNODE_RECIEVE__PORT", "1")
    (line,) = problems(tmp_path, SENDERS)
    assert "RADNODE_RECIEVE__PORT" in line


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    lines = problems(tmp_path, "storage: {database_url: [hunter2]}\n" + SENDERS)
    lines += problems(tmp_path, "storage: {database_url: 'mysql://u:hunter2@h/d'}\n" + SENDERS)
    assert lines
    assert not any("hunter2" in line for line in lines)


def test_relative_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "node: {data_dir: d}\n" + SENDERS))
    assert settings.node.data_dir == tmp_path / "d"
    (folder,) = settings.destinations
    assert isinstance(folder, FolderDestination)
    assert folder.folder == tmp_path / "fhir-out"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(Settings().node, "name", "other")  # noqa: B010 -- mypy forbids the plain form


def test_without_a_url_the_database_is_the_embedded_one(tmp_path: Path) -> None:
    assert database_url(load_settings(written(tmp_path, SENDERS))) is None


def test_the_example_file_is_valid() -> None:
    example = Path(__file__).parents[3] / "config" / "node.example.yaml"
    assert load_settings(example).receive.senders[0].find_port == 4242
