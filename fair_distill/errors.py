"""The errors that this package raises on purpose, each with the exit code of the command line.

A message is one line: what is wrong, what is allowed, and how to fix it. Any other exception is a bug of this package.
It keeps its traceback, and the command exits with 70.
"""

from fair_distill.text import printable, without_secrets


class FairDistillError(Exception):
    """An error that the user can fix.

    A message is always one line that is safe to print on a terminal. Credentials in addresses are removed.
    """

    exit_code = 2

    def __str__(self) -> str:
        return printable(without_secrets(super().__str__()))


class FairDistillWarning(UserWarning):
    """A warning that the user should read. It stops nothing."""


class ConfigError(FairDistillError):
    """A key, name or value in params.yaml or on the command line is invalid."""


class DataError(FairDistillError):
    """The data do not match the configuration."""


class ShapeError(DataError):
    """The shapes of arrays do not fit together."""


# The extra of this package that installs a library.
_EXTRAS = {
    **dict.fromkeys(("torch", "ot", "safetensors", "sklearn", "PIL"), "distill"),
    **dict.fromkeys(("great_expectations", "pandas"), "validate"),
    **dict.fromkeys(("prefect", "dvc"), "pipeline"),
}


def missing_library(name: str, error: ModuleNotFoundError) -> Exception:
    """Return the error for a part of this package that needs a library of an extra, or `error` for another module.

    Parameters
    ----------
    name : the function or command that needs the library
    """
    library = (error.name or "").partition(".")[0]
    if library not in _EXTRAS:
        return error
    extra = _EXTRAS[library]
    return ConfigError(f"{name} needs {library}, which is not installed; run: pip install 'fair-distill[{extra}]'")


class Refused(FairDistillError):
    """The gate refused the set. This is a result, not a failure; nothing was promoted."""

    exit_code = 1


class Undecided(FairDistillError):
    """The evidence is inconclusive or insufficient, so the set neither passes nor fails."""

    exit_code = 3


class MeasurementError(FairDistillError):
    """A number that a decision requires could not be measured."""

    exit_code = 4


class IntegrityError(FairDistillError):
    """Bytes, digests, signatures or the ledger do not match."""

    exit_code = 5
