"""The errors this package raises on purpose. Each carries the exit code the command line ends with.

A message is one line that says what was wanted, what came, and where to change it. Everything else that
is raised is a fault of ours: it keeps its traceback and exits 70.
"""

from fair_distill.text import printable, without_secrets


class FairDistillError(Exception):
    """Something that the reader of the message can fix.

    Whatever a message quotes, it is one line that a terminal can show, and no address in it has credentials.
    """

    exit_code = 2

    def __str__(self) -> str:
        return printable(without_secrets(super().__str__()))


class FairDistillWarning(UserWarning):
    """Something that the user should know and that stops nothing."""


class ConfigError(FairDistillError):
    """A key, name or value in params.yaml or on the command line is not usable."""


class DataError(FairDistillError):
    """The data are not what the configuration says they are."""


class ShapeError(DataError):
    """Arrays that should fit together do not."""


class Refused(FairDistillError):
    """The gate said no. A result, not a fault; nothing was promoted."""

    exit_code = 1


class Undecided(FairDistillError):
    """The evidence neither passes nor fails: inconclusive or insufficient."""

    exit_code = 3


class MeasurementError(FairDistillError):
    """A number that a decision needs could not be measured."""

    exit_code = 4


class IntegrityError(FairDistillError):
    """Bytes, digests, signatures or the ledger do not belong together."""

    exit_code = 5
