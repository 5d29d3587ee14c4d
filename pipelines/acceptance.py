"""Which models an operator has accepted: only these are loaded, for a bundle can run any code.

A model is accepted by the digests of all its files: in `accepted_models.json` of the data
directory (`radnode model accept`), or by `model_files` of its definition, which is how the
shipped models are. Nothing here imports torch.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipelines.bundle_files import told_changes
from pipelines.errors import InvalidBundle
from storage.durable import durable_write

ACCEPTED_FILE = "accepted_models.json"


@dataclass(frozen=True, slots=True)
class AcceptedModel:
    """One acceptance: which files, when, by whom, and what the left/right test said.

    `accepted_at` is ISO 8601 with offset, `accepted_by` the user of the operating system.
    `agreements` says how far reduced precisions agreed with float32 on the case, 0 to 1, each by
    the kind of device that computed: processors round differently. A bare figure of an earlier
    record names no device, and says nothing about any.
    """

    bundle: str
    model_digest: str
    files: Mapping[str, str]
    accepted_at: str
    accepted_by: str
    left_right: str
    left_right_detail: str = ""
    agreements: Mapping[str, Mapping[str, float] | float] = field(default_factory=dict)

    def agreements_of(self, precision: str) -> Mapping[str, float]:
        """The figures of one precision by kind of device."""
        found = self.agreements.get(precision)
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Acceptances:
    """Every acceptance on record, oldest first."""

    models: tuple[AcceptedModel, ...] = ()

    def of(self, model_digest: str) -> AcceptedModel | None:
        """The newest acceptance of exactly these files."""
        return next((m for m in reversed(self.models) if m.model_digest == model_digest), None)

    def agreements_of(self, model_digest: str, precision: str) -> Mapping[str, float]:
        """For exactly these files the newest figure of each kind of device that was measured."""
        found: dict[str, float] = {}
        for model in self.models:
            if model.model_digest == model_digest:
                found |= model.agreements_of(precision)
        return found

    def last_of_bundle(self, bundle: str) -> AcceptedModel | None:
        """The newest acceptance of whatever had this name."""
        return next((m for m in reversed(self.models) if m.bundle == bundle), None)


def read_acceptances(data_dir: Path) -> Acceptances:
    """Read what is on record in a data directory; nothing when there is none.

    Raises `InvalidBundle` when the file is there and cannot be understood.
    """
    path = data_dir / ACCEPTED_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Acceptances(tuple(AcceptedModel(**value) for value in values))
    except (FileNotFoundError, NotADirectoryError):
        # A file in the place of the directory is told by the check of the settings.
        return Acceptances()
    except (OSError, ValueError, TypeError) as error:
        text = f"{path}: cannot be read ({type(error).__name__}); restore it, or accept anew"
        raise InvalidBundle(text) from error


def record_acceptance(data_dir: Path, model: AcceptedModel) -> None:
    """Put one acceptance on record, durably; earlier ones stay. Raises what `read_acceptances`
    raises, and OSError.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(data_dir):
        models = (*read_acceptances(data_dir).models, model)
        text = json.dumps([asdict(one) for one in models], indent=1, sort_keys=True)
        durable_write(data_dir / ACCEPTED_FILE, text.encode())


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    with (data_dir / f".{ACCEPTED_FILE}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_accepted(
    bundle: str,
    model_digest: str,
    files: Mapping[str, str],
    pinned: Mapping[str, str],
    acceptances: Acceptances,
) -> None:
    """Raise `InvalidBundle` for a model that nobody accepted, naming the files that changed."""
    if dict(pinned) == dict(files) or acceptances.of(model_digest):
        return
    before = acceptances.last_of_bundle(bundle)
    known = before.files if before else pinned
    if known:
        raise InvalidBundle(
            f"bundle {bundle}: {told_changes(known, files)} since it was accepted; put the "
            f"accepted files back, or look at them and run radnode model accept {bundle}"
        )
    raise InvalidBundle(
        f"bundle {bundle}: not accepted yet, and a bundle can run any code; look at it, then run "
        f"radnode model check {bundle} and radnode model accept {bundle}"
    )
