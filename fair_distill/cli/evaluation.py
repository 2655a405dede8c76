"""The command that trains on a set and measures what comes of it."""

from pathlib import Path

from fair_distill.cli.arguments import (
    Arguments,
    Commands,
    add_checkpoints,
    add_command,
    add_device,
    add_key,
    open_workspace,
)
from fair_distill.cli.progress import add_quiet, shown
from fair_distill.cli.show import METRICS, percent, say


def add_commands(commands: Commands) -> None:
    sub = add_command(commands, "evaluate", _evaluate, "train on a set as it lies on disk and predict the gate split")
    sub.add_argument("set", help="a name under sets in params.yaml")
    add_checkpoints(sub)
    add_device(sub)
    add_quiet(sub)
    text = "sign a statement on the predictions of sets, as the machine that evaluated them"
    sub = add_command(commands, "attest", _attest, text)
    sub.add_argument("sets", nargs="*", metavar="set", help="names under sets in params.yaml (default: all)")
    add_key(sub)


def _evaluate(arguments: Arguments) -> None:
    from fair_distill.stages.evaluate import evaluate_set

    with shown("evaluate", arguments.set, quiet=arguments.quiet) as progress:
        report = evaluate_set(
            *open_workspace(arguments),
            arguments.set,
            device=arguments.device,
            checkpoints=arguments.checkpoints,
            progress=progress,
        )
    for network, of in report.items():
        figures = ", ".join(f"{title} {percent(of[name])}" for name, title in METRICS.items())
        say(f"{arguments.set}, {network}: {figures}")


def _attest(arguments: Arguments) -> None:
    from fair_distill.errors import ConfigError
    from fair_distill.stages.attest import attest_predictions
    from fair_distill.statements import signer

    if not arguments.key:
        raise ConfigError("attest signs, and there is no key; name one with --key or FAIR_DISTILL_SIGNING_KEY")
    workspace, config = open_workspace(arguments)
    for path in attest_predictions(workspace, config, arguments.sets or config.sets, sign=signer(Path(arguments.key))):
        say(str(path))
