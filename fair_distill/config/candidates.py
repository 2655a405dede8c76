"""The section `candidates`: the small sets that can be released, each of one kind."""

from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator

from fair_distill.config.distill import Candidate
from fair_distill.config.evaluate import Subset
from fair_distill.config.sections import Choice, Natural, Section, Sha256, Slug


class Coreset(Section):
    """A candidate of real examples that are selected from the training split, distill.ipc of each class.

    Attributes
    ----------
    select : as for references
    formation : as for references
    draw : the number of the draw, for selections that depend on chance
    """

    select: Subset
    formation: Annotated[int, Field(ge=1, le=4)] | None = None
    draw: Natural = 0


class Imported(Section):
    """A candidate that somebody else made.

    Attributes
    ----------
    source : where its examples and labels are, in the words of data.source
    sha256 : the digest of the file, or of the list of files in a folder; another file is refused
    producer, licence : who made the set, and under which terms it may be used; they are in the card
    """

    source: Choice
    sha256: Sha256
    producer: Annotated[str, Field(min_length=1)]
    licence: Annotated[str, Field(min_length=1)]


class Custom(Section):
    """A candidate that a function of the operator makes.

    Attributes
    ----------
    make : `package.module:callable` with its options; see `candidates.custom.MakeExamples`
    """

    make: Choice


class Best(Section):
    """Another candidate, `best`, which is the best of several candidates on the tune split; see `stages.choose`.

    Attributes
    ----------
    sets : the candidates to choose from, and every reference that a limit compares with
    """

    sets: Annotated[tuple[Slug, ...], Field(min_length=2, strict=False)]


# The name of the set that is chosen.
BEST = "best"

AnyCandidate = Candidate | Coreset | Imported | Custom

# The key that every candidate of a kind has, and no other kind.
KINDS: dict[str, type[AnyCandidate]] = {"alignment": Candidate, "select": Coreset, "source": Imported, "make": Custom}


def _candidate(value: object) -> AnyCandidate:
    """Check a candidate as its kind. With a union, pydantic would report an error for each kind."""
    if not isinstance(value, dict):
        raise ValueError(f"it is of the type {type(value).__name__}; write a mapping with one of {', '.join(KINDS)}")
    named = [key for key in KINDS if key in value]
    if len(named) != 1:
        state = f"it has both {' and '.join(named)}" if named else "it has none of the keys that name its kind"
        raise ValueError(f"{state}; write exactly one of {', '.join(KINDS)}")
    return KINDS[named[0]].model_validate(value)


def _plain(value: Any) -> Any:
    """Return a candidate as plain values. Without this, pydantic warns that a value is of another kind."""
    return value.model_dump()


CandidateKind = Annotated[AnyCandidate, PlainValidator(_candidate), PlainSerializer(_plain)]
