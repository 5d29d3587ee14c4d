"""Fill a model card's measured parts from the files that hold the measures."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.training.bundle_config import (
    CARD_FILE,
    EVALUATION_FILE,
    METADATA_FILE,
    TRAINING_FILE,
)
from pipelines.training.errors import TrainingError

PER_LINE = 6


def card_sections(evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, str]:
    """Return the Markdown of each measured part of the card, by the name in its markers."""
    return {
        "scores": _scores(evaluation),
        "cases": _cases(evaluation),
        "storage": _storage(evaluation),
        "training": _training(training),
        "training-cases": _names(training["training_cases"]),
        "held-out-cases": _names(list(evaluation["per_case"])),
    }


def fill_markers(text: str, sections: Mapping[str, str]) -> str:
    """Return `text` with what lies between each pair of markers replaced."""
    for name, content in sections.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        block = f"{begin}\n\n{content}\n\n{end}"
        text, count = pattern.subn(lambda _, block=block: block, text)  # type: ignore[misc]
        if count != 1:
            raise TrainingError(
                f"the card needs exactly one pair of markers {begin} {end}, it has {count}"
            )
    return text


def write_card(bundle_dir: Path) -> None:
    """Bring the card and the metadata's eval_metrics up to date with the measures on disk."""
    evaluation = json.loads((bundle_dir / EVALUATION_FILE).read_text())
    training = json.loads((bundle_dir / TRAINING_FILE).read_text())
    card = bundle_dir / CARD_FILE
    card.write_text(fill_markers(card.read_text(), card_sections(evaluation, training)))
    metadata_path = bundle_dir / METADATA_FILE
    metadata = json.loads(metadata_path.read_text())
    metadata["eval_metrics"] = eval_metrics(evaluation)
    metadata_path.write_text(json.dumps(metadata, indent=4) + "\n")


def eval_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean Dice per structure under the names that the metadata uses."""
    return {
        f"mean_dice_{name.lower().replace(' ', '_')}": figures["mean"]
        for name, figures in evaluation["structures"].items()
    }


def _scores(evaluation: Mapping[str, Any]) -> str:
    columns = ("mean", "std", "min", "median")
    rows = [
        [name, *(f"{figures[column]:.3f}" for column in columns)]
        for name, figures in evaluation["structures"].items()
    ]
    return f"Dice on {evaluation['cases']} held-out cases:\n\n" + _table(
        ["structure", *columns], rows
    )


def _cases(evaluation: Mapping[str, Any]) -> str:
    rows = [
        [stem, *(f"{value:.3f}" for value in values.values())]
        for stem, values in evaluation["per_case"].items()
    ]
    return _table(["case", *evaluation["structures"]], rows)


def _storage(evaluation: Mapping[str, Any]) -> str:
    names = list(evaluation["structures"])
    rows = [
        [variant, *(f"{values[name]:.3f}" for name in names)]
        for variant, values in evaluation["stored_otherwise"].items()
    ]
    return _table(["the same cases", *(f"{name}, mean Dice" for name in names)], rows)


def _training(training: Mapping[str, Any]) -> str:
    plan = training["plan"]
    early, full = ("x".join(map(str, plan[key])) for key in ("early_patch", "full_patch"))
    rows = [
        ["cases", str(len(training["training_cases"]))],
        ["parameters", f"{training['parameters']:,}"],
        ["iterations", f"{training['iterations']:,} of {plan['batch_size']} patches"],
        ["passes over the cases", f"{training['patches'] / len(training['training_cases']):.0f}"],
        ["time", f"{training['minutes']} minutes on {training['threads']} CPU threads"],
        ["patch", f"{early}, from {plan['full_patch_from']:.0%} of the span on {full}"],
        [
            "optimiser",
            f"AdamW, learning rate {plan['learning_rate']:g}, "
            f"weight decay {plan['weight_decay']:g}",
        ],
        ["seed", str(plan["seed"])],
    ]
    return _table(["what", "value"], rows)


def _names(stems: Sequence[str]) -> str:
    lines = [", ".join(stems[i : i + PER_LINE]) for i in range(0, len(stems), PER_LINE)]
    return ",\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
