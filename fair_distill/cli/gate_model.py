"""`fair-distill gate model`: judge the predictions of a model of any framework."""

import argparse
from pathlib import Path

from fair_distill.cli.arguments import add_floor, add_key, add_now, add_who, signer_of, today_or_later
from fair_distill.cli.output import print_line, print_sentence
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.cli.verdicts import add_summaries, print_verdict, write_summaries


def add_command(gate: Parser) -> None:
    """Add the command to its group."""
    command = gate.add_command(
        "model",
        _model,
        "judge the predictions of a model of any framework by a policy",
        details="The predictions are a Parquet file with a row for each example; docs/judging-models.md describes its "
        "columns. Exit codes as for `enforce`.",
        examples=[
            (
                "fair-distill gate model adult.parquet --policy gate.yaml --groups sex race",
                "the predictions have columns for labels, sex and race",
            ),
            (
                "fair-distill gate model predictions.parquet --policy gate.yaml \\\n"
                "      --set faces@v3 --split artifacts/prepared/gate.arrow",
                "a model that was trained on a published set",
            ),
            (
                "fair-distill gate model new.parquet --policy gate.yaml \\\n      --labels s3://sealed/labels.parquet",
                "only this job can read the labels",
            ),
        ],
    )
    command.add_argument("predictions", metavar="PREDICTIONS", help="the predictions: a Parquet file or an S3 URL")
    command.add_argument("--policy", type=Path, required=True, metavar="FILE", help="the policy")
    command.add_argument(
        "--set",
        dest="trained_on",
        metavar="REFERENCE",
        help="the version that the model was trained on, as in faces@v3",
    )
    command.add_argument(
        "--registry",
        dest="model_registry",
        metavar="URL",
        help="the registry of this version, and of the record of attempts (default: FAIR_DISTILL_REGISTRY)",
    )
    command.add_argument(
        "--dataset", metavar="NAME", help="the data set of the examples, for the record (default: that of --set)"
    )
    command.add_argument(
        "--audit", action="store_true", help="judge predictions that are in the record of attempts; record nothing"
    )
    add_who(command, "your name in the record of attempts")
    command.add_argument(
        "--split", type=Path, metavar="FILE", help="the gate split, which the predictions must cover exactly"
    )
    command.add_argument(
        "--labels", metavar="URL", help="labels and groups in a separate Parquet file, for predictions without them"
    )
    command.add_argument(
        "--groups", nargs="+", default=[], metavar="COLUMN", help="the columns that define the groups (default: group)"
    )
    command.add_argument(
        "--classes", nargs="+", default=[], metavar="CLASS", help="all classes (default: those of the labels)"
    )
    command.add_argument(
        "--given", action="store_true", help="judge every network by itself, instead of the mean over seeds"
    )
    command.add_argument(
        "--reference",
        type=_reference,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="predictions to compare with, for clauses over NAME; may be repeated",
    )
    command.add_argument(
        "--first-release", action="store_true", help="state that no model is in use, for clauses over `promoted`"
    )
    command.add_argument("--context", type=Path, metavar="FILE", help="a context.json with waivers for this model")
    command.add_argument(
        "--attestation",
        action="append",
        default=[],
        metavar="FILE",
        help="a signed statement on the predictions, for a policy with evaluators; may be repeated",
    )
    command.add_argument("--name", metavar="NAME", help="the name in the output (default: the name of the file)")
    add_floor(command)
    add_now(command)
    add_summaries(command)


def add_attest_command(gate: Parser) -> None:
    """Add the command that signs the predictions of a model."""
    command = gate.add_command(
        "attest-model",
        _attest,
        "sign the predictions of a model, on the machine that made them",
        examples=[("fair-distill gate attest-model predictions.parquet --key evaluator.key", "for `gate model`")],
    )
    command.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="the predictions: a Parquet file")
    command.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the file to write (default: that of the predictions with .attestation.json instead of .parquet)",
    )
    add_key(command)


def _attest(arguments: Arguments) -> None:
    from fair_distill.errors import ConfigError
    from fair_distill.files import write_bytes
    from fair_distill.stages.model_attestation import attest_model
    from fair_distill.stages.model_examples import read_address

    sign = signer_of(arguments)
    if sign is None:
        raise ConfigError("attest-model needs a signing key; pass --key FILE or set FAIR_DISTILL_SIGNING_KEY")
    content = read_address(str(arguments.predictions), source="the path of the predictions")
    output = arguments.output or arguments.predictions.with_suffix(".attestation.json")
    write_bytes(output, attest_model(content, sign=sign))
    print_line(str(output))


def _reference(text: str) -> tuple[str, str]:
    name, separator, address = text.partition("=")
    if not (separator and name and address):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, address


def _model(arguments: Arguments) -> int:
    import os
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.errors import ConfigError
    from fair_distill.registry.actor import Actor
    from fair_distill.registry.store import REGISTRY_VARIABLE, locate
    from fair_distill.stages.model import judge_model
    from fair_distill.stages.model_attempt import AttemptRecord

    references = dict(arguments.reference)
    if len(references) < len(arguments.reference):
        raise ConfigError("--reference names a reference twice; pass each name once")
    name = arguments.name or arguments.predictions.partition("?")[0].rpartition("/")[2].removesuffix(".parquet")
    url = arguments.model_registry or os.environ.get(REGISTRY_VARIABLE)
    record = None
    if url:
        dataset = arguments.dataset or (arguments.trained_on or "").partition("@")[0]
        if not dataset:
            raise ConfigError("the record of attempts needs a data set; pass --dataset NAME, or --set")
        actor = None if arguments.audit else Actor(arguments.who, datetime.now(UTC), uuid4().hex)
        record = AttemptRecord(locate(url, folder=arguments.workspace), dataset, actor)
    verdict = judge_model(
        arguments.predictions,
        arguments.policy,
        name=name,
        split=arguments.split,
        labels=arguments.labels,
        groups=arguments.groups,
        classes=arguments.classes,
        trained_on=arguments.trained_on,
        registry=locate(arguments.model_registry, folder=arguments.workspace),
        given=arguments.given,
        references=references,
        first_release=arguments.first_release,
        context=arguments.context,
        policy_floor=arguments.policy_floor,
        attestations=arguments.attestation,
        now=today_or_later(arguments),
        workspace=arguments.workspace,
        record=record,
    )
    arguments.set = name  # the subject of the output, as for the commands that judge a set
    print_verdict(arguments, verdict)
    if not arguments.json:
        for note in verdict.notes:
            print_sentence("  note: ", note)
    write_summaries(arguments, verdict)
    return int(verdict.exit_code)
