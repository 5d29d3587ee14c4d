"""The example file and the documentation state every key, and no key that is not there."""

from __future__ import annotations

from pathlib import Path

from config.reference import (
    EXAMPLE,
    all_settings,
    example_comments,
    setting_meanings,
    settings_reference,
)

ROOT = Path(__file__).parents[3]


def test_the_page_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == settings_reference(), "run: python -m config.reference > docs/configuration.md"


def test_the_example_states_every_key() -> None:
    stated = set(example_comments())
    missing = [setting.key for setting in all_settings() if setting.key not in stated]
    assert missing == []


def test_every_key_has_a_meaning() -> None:
    assert [key for key, text in setting_meanings().items() if len(text) < 10] == []


def test_every_default_that_the_example_names_is_the_codes_default() -> None:
    comments = example_comments()
    wrong = [
        (setting.key, setting.default, comment)
        for setting in all_settings()
        if "Default: " in (comment := comments[setting.key])
        and setting.default.strip('[]"') not in comment.split("Default: ")[1]
        and "nobody" not in comment
    ]
    assert wrong == []


def test_the_example_is_shipped_beside_the_code() -> None:
    assert EXAMPLE.is_file()
