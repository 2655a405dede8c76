"""`fair-distill publish`: copy the release candidate into the registry."""

from fair_distill.cli.arguments import open_workspace
from fair_distill.cli.operations import add_write_options, begin_operation
from fair_distill.cli.output import print_json, print_line
from fair_distill.cli.parser import Arguments, Parser


def add_commands(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "publish",
        _publish,
        "copy the release candidate into the registry",
        details="A published version is named by its SHA-256 and never changes.",
        examples=[("fair-distill publish --registry /srv/registry", "publish to a registry in a shared folder")],
    )
    add_write_options(command)


def _publish(arguments: Arguments) -> None:
    from fair_distill.stages.publish import publish_set

    workspace, config = open_workspace(arguments)
    with begin_operation(arguments, "publish", config.dataset) as (actor, _):
        version = publish_set(workspace, config, registry=arguments.registry, actor=actor)
    if arguments.json:
        print_json(
            {"dataset": config.dataset, "number": version.number, "version": version.version, "new": version.new}
        )
        return
    state = "published" if version.new else "was already published"
    print_line(f"{config.dataset}@v{version.number} {state}: {version.version}")
