"""Train and measure a bundle's model: `python -m pipelines.training --help` lists the commands."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from pipelines.training.bundle_config import TRAINING_FILE, WEIGHTS_FILE, build, read_config
from pipelines.training.datasets import choose, find_cases, load_volume, split_stems
from pipelines.training.errors import TrainingError
from pipelines.training.evaluate import evaluate_bundle, write_evaluation
from pipelines.training.export import export_weights
from pipelines.training.input_statistics import as_yaml, input_statistics, passing
from pipelines.training.model_card import write_card
from pipelines.training.storage_variants import score_variants
from pipelines.training.trainer import TrainingPlan, train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 1 refused with a message."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def train_command(options: argparse.Namespace) -> None:
    """Train on the training part of the data and put the weights into the bundle."""
    config = read_config(options.bundle)
    cases = find_cases(options.data, _say)
    stems = split_stems(case.stem for case in cases).training[options.set_aside :]
    preprocessing = build(config, "preprocessing")
    volumes = [load_volume(case, preprocessing) for case in choose(cases, stems)]
    plan = TrainingPlan(minutes=options.minutes, iterations=options.iterations, seed=options.seed)
    torch.manual_seed(options.seed)
    network = build(config, "network_def")
    result = train(network, volumes, plan, report=_say)
    size = export_weights(result.state, options.bundle / WEIGHTS_FILE)
    (options.bundle / TRAINING_FILE).write_text(json.dumps(result.record, indent=2) + "\n")
    _say(f"{options.bundle / WEIGHTS_FILE}: {size} bytes")


def evaluate_command(options: argparse.Namespace) -> None:
    """Measure the bundle on the held-out part of the data; write its evaluation and its card."""
    cases = find_cases(options.data, _say)
    held_out = choose(cases, split_stems(case.stem for case in cases).held_out)
    _refuse_seen_cases(options.bundle, {case.stem for case in held_out})
    evaluation = evaluate_bundle(options.bundle, held_out, _say)
    evaluation["stored_otherwise"] = score_variants(options.bundle, held_out)
    write_evaluation(options.bundle, evaluation)
    write_card(options.bundle)
    _say(json.dumps(evaluation["structures"], indent=2))


def statistics_command(options: argparse.Namespace) -> None:
    """Print what the training part looks like, as lines for a pipeline definition."""
    cases = find_cases(options.data, lambda _: None)
    split = split_stems(case.stem for case in cases)
    statistics = input_statistics(choose(cases, split.training))
    within = passing(statistics, choose(cases, split.held_out))
    _say(f"    # {sum(within)} of {len(within)} held-out cuts are within the limit.")
    _say(as_yaml(statistics).rstrip())


def _refuse_seen_cases(bundle: Path, held_out: set[str]) -> None:
    """A changed data folder splits otherwise; a case that was trained on proves nothing."""
    record = bundle / TRAINING_FILE
    if not record.is_file():
        raise TrainingError(f"{record} is missing: train first, it lists the cases trained on")
    seen = sorted(held_out & set(json.loads(record.read_text())["training_cases"]))
    if seen:
        raise TrainingError(
            f"{seen[0]} and {len(seen) - 1} more held-out cases were trained on: give --data the "
            "same cases as in training, or train again"
        )


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with images/ and labels/, each with *.nii.gz",
    )
    shared.add_argument("--bundle", type=Path, required=True, help="folder of the MONAI bundle")
    shared.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser = argparse.ArgumentParser(prog="python -m pipelines.training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _add_train(commands.add_parser("train", parents=[shared], help=train_command.__doc__))
    evaluate = commands.add_parser("evaluate", parents=[shared], help=evaluate_command.__doc__)
    evaluate.set_defaults(run=evaluate_command)
    statistics = commands.add_parser(
        "statistics", parents=[shared], help=statistics_command.__doc__
    )
    statistics.set_defaults(run=statistics_command)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=train_command)
    parser.add_argument(
        "--minutes", type=float, default=40.0, help="how long to train, by the clock (default 40)"
    )
    parser.add_argument(
        "--iterations", type=int, help="train this many steps instead, however long they take"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument(
        "--set-aside",
        type=int,
        default=0,
        help="training cases to leave out, for choosing settings",
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
