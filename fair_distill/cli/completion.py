"""`fair-distill completion`: a script by which a shell completes commands and options."""

from fair_distill.cli.arguments import Arguments, Commands, add_command
from fair_distill.cli.show import say_page

SHELLS = ("bash", "zsh", "fish")


def add_commands(commands: Commands) -> None:
    sub = add_command(commands, "completion", _completion, "print a script that teaches a shell to complete commands")
    sub.add_argument("shell", choices=SHELLS)


def _completion(arguments: Arguments) -> None:
    import shtab

    from fair_distill.cli import _parser

    say_page(f"{shtab.complete(_parser(), arguments.shell)}\n")
