"""`fair-distill stage tune` and `choose`: the choice among candidates on the tune split."""

from fair_distill.cli.arguments import add_device, add_set, open_current
from fair_distill.cli.costs import costed
from fair_distill.cli.output import print_line, print_table
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.text import ABSENT, percent


def add_choice(stage: Parser) -> None:
    """Add the two commands to the group `stage`."""
    command = stage.add_command(
        "tune",
        _tune,
        "train networks on a set and predict the tune split",
        examples=[("fair-distill stage tune herding", "evaluate a set that `stage choose` compares")],
    )
    add_set(command)
    add_device(command)
    stage.add_command(
        "choose",
        _choose,
        "choose the best candidate on the tune split",
        examples=[("fair-distill stage choose", "write the set `best` from the candidates of params.yaml: best")],
    )


@costed("tune", "set")
def _tune(arguments: Arguments) -> None:
    from fair_distill.stages.tune import tune_set

    tune_set(*open_current(arguments), arguments.set, device=arguments.device)
    print_line(f"{arguments.set}: evaluated on the tune split")


@costed("choose")
def _choose(arguments: Arguments) -> None:
    from fair_distill.gate.metrics import ACCURACY
    from fair_distill.stages.choose import choose_best

    manifest = choose_best(*open_current(arguments))
    choice = manifest.card.choice
    assert choice is not None  # it was written just now
    print_table(
        "candidates on the tune split; a margin below 0 violates a limit",
        ["candidate", "examples", "accuracy", "margin"],
        [
            [name, f"{each['examples']:,}", percent(each[ACCURACY.name]), _margin_text(each["margin"])]
            for name, each in choice.candidates.items()
        ],
    )
    reason = "should pass" if choice.should_pass else "none should pass, and this is the nearest to passing"
    print_line(f"best: {choice.chosen} ({reason}), version {manifest.version[:12]}")


def _margin_text(margin: float | None) -> str:
    return ABSENT if margin is None else f"{margin:+.3f}"
