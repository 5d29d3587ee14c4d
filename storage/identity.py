"""Under which identity the PACS lists a study, where that is not the one that it was sent under.

Kept with the study, so that each delivery tells the same, also while the PACS does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import select, update

from storage.database import Database
from storage.dicom_tables import Study
from storage.table_types import storable_map

Attributes: TypeAlias = Sequence[tuple[str, str]]
"""Keyword and value of attributes of patient and study."""

IDENTITY_KEY = "identity"


def with_identity(receipt: Mapping[str, str], attributes: Attributes) -> Mapping[str, str]:
    """Give a receipt that tells under which changed attributes a result went."""
    return {**receipt, IDENTITY_KEY: json.dumps(attributes)} if attributes else receipt


def told_identity(receipt: Mapping[str, str]) -> Mapping[str, str]:
    """Read them back, by keyword: a withdrawal goes to whom the result was told of."""
    return dict(json.loads(receipt.get(IDENTITY_KEY, "[]")))


def keep_identity(db: Database, study_instance_uid: str, changes: Mapping[str, str]) -> None:
    """Keep what differs, by keyword; nothing where nothing does."""
    kept = storable_map(changes) or None
    with db.begin() as session:
        own = Study.study_instance_uid == study_instance_uid
        session.execute(update(Study).where(own).values(listed_identity=kept))


def known_identity(db: Database, study_instance_uid: str) -> Mapping[str, str]:
    """What differed when the PACS was asked last, by keyword."""
    own = Study.study_instance_uid == study_instance_uid
    with db.read() as session:
        return session.scalar(select(Study.listed_identity).where(own)) or {}
