"""`fair-distill promote`: judge the release candidate again, and move a channel to it if it passes."""

from fair_distill.cli.arguments import add_floor, open_workspace
from fair_distill.cli.operations import add_write_options, begin_operation
from fair_distill.cli.output import print_json, print_line
from fair_distill.cli.parser import Arguments, Parser


def add_commands(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "promote",
        _promote,
        "judge the candidate; if it passes, promote it to a channel",
        examples=[
            ("fair-distill promote --to production", "promote to the channel 'production'"),
            ('fair-distill promote --to production --reason "corrected labels"', "record a reason in the ledger"),
        ],
    )
    command.add_argument("--to", required=True, metavar="CHANNEL", help="a name under release.channels in params.yaml")
    command.add_argument("--reason", default="", help="why the channel changes; the ledger stores it")
    add_floor(command)
    add_write_options(command)


def _promote(arguments: Arguments) -> None:
    from fair_distill.stages.promote import promote_version

    workspace, config = open_workspace(arguments)
    with begin_operation(arguments, "promote", config.dataset, arguments.to) as (actor, _):
        promotion = promote_version(
            workspace,
            config,
            arguments.to,
            registry=arguments.registry,
            actor=actor,
            floor=arguments.policy_floor,
            reason=arguments.reason,
        )
    if arguments.json:
        print_json(
            {
                "dataset": config.dataset,
                "channel": promotion.channel,
                "number": promotion.number,
                "version": promotion.version,
                "new": promotion.new,
            }
        )
        return
    state = "is now" if promotion.new else "is already"
    print_line(f"{config.dataset}@{promotion.channel} {state} v{promotion.number}")
