from __future__ import annotations

from urllib.parse import parse_qs

from fhir.resources.R4B.identifier import Identifier
from hypothesis import given
from hypothesis import strategies as st

from fhir.clean_text import clean
from fhir.identifiers import if_none_exist, result_identity, token
from tests.unit.fhir.finished_jobs import with_findings

nonempty = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(clean)


def test_identifiers_do_not_change_from_release_to_release() -> None:
    identity = result_identity(with_findings(), "urn:radnode:result")
    assert str(identity.uuid("report")) == "0f496133-6ff1-5fe0-9b61-cadfa195b67a"


@given(nonempty, nonempty)
def test_a_token_is_split_again_into_system_and_value(system: str, value: str) -> None:
    assert _split(token(system, value)) == [system, value]


@given(nonempty, nonempty)
def test_a_condition_is_one_query_parameter_whatever_the_system(system: str, value: str) -> None:
    condition = if_none_exist(Identifier(system=system, value=value))
    assert condition.isascii()
    assert parse_qs(condition, strict_parsing=True) == {"identifier": [token(system, value)]}


def _split(text: str) -> list[str]:
    r"""Split at a bar that no backslash escapes, and take the backslashes away."""
    parts, escaped = [""], False
    for character in text:
        if character == "|" and not escaped:
            parts.append("")
        elif character == "\\" and not escaped:
            escaped = True
            continue
        else:
            parts[-1] += character
        escaped = False
    return parts
