"""Where the data come from: `data`."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails

from fair_distill.config.sections import Choice, PositiveFloat, Section, Slug

Name = Annotated[str, Field(min_length=1)]
Colour = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]


def _share(value: object) -> float | str:
    """Check a share, or the name of a split. Not a union: its errors would name the branches of the code."""
    if isinstance(value, str) and value:
        return value
    share: float = _SHARE.validate_python(value, strict=True)
    return share


def _tint(value: object) -> list[int] | str:
    if isinstance(value, str):
        if value not in {"grey", "original"}:
            raise ValueError(f"a colour is three numbers from 0 to 255, `grey` or `original`; got {value!r}")
        return value
    colour: list[int] = _COLOUR.validate_python(value, strict=True)
    return colour


_SHARE: TypeAdapter[float] = TypeAdapter(PositiveFloat)
_COLOUR: TypeAdapter[list[int]] = TypeAdapter(Colour)
Share = Annotated[float | str, PlainValidator(_share)]
Tint = Annotated[list[int] | str, PlainValidator(_tint)]


class SplitShares(Section):
    """For each split, a share of what is not named, or the name that the source has for it."""

    train: Share
    tune: Share
    gate: Share

    @model_validator(mode="after")
    def _sum(self) -> "SplitShares":
        given = [self.train, self.tune, self.gate]
        shares = [share for share in given if not isinstance(share, str)]
        if shares and abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"shares sum to 1; these sum to {sum(shares):g}")
        for name in given:
            if isinstance(name, str) and given.count(name) > 1:
                raise ValueError(f"two splits are {name!r}; an example is in one split")
        return self


class Merge(Section):
    """Groups that are merged before anything else, by the name they get."""

    merge: Annotated[dict[Name, Annotated[tuple[Name, ...], Field(min_length=2, strict=False)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _once(self) -> "Merge":
        groups = [group for several in self.merge.values() for group in several]
        for group in groups:
            if groups.count(group) > 1:
                raise ValueError(f"the group {group!r} is merged twice")
        return self

    @property
    def becomes(self) -> dict[str, str]:
        """For each group that is merged, the name it gets."""
        return {group: name for name, groups in self.merge.items() for group in groups}


def _missing_cells(value: object) -> object:
    """Check what is done about missing cells. Not a union, like a share."""
    if isinstance(value, dict):
        return Merge.model_validate(value)
    if value not in ("refuse", "drop_class"):
        raise ValueError(f"refuse, drop_class, or merge with groups by the name they get, is wanted; got {value!r}")
    return value


MissingCells = Annotated[Literal["refuse", "drop_class"] | Merge, PlainValidator(_missing_cells)]


class Data(Section):
    """Images with classes, and their groups: those of the source, or colours that are painted on.

    Attributes
    ----------
    colours : the groups to make of a source that has none
    own_share : of each class's training images, how many stand in the class's own colour
    paint : what takes the colour. `foreground`: all that is bright, as bright as it is. `stroke`: what is bright, the
        rest black. `background`: what is dark, the rest black. `behind`: what is dark, shining through. `around`: what
        is black, the rest as it is
    owners : for each class the group it mostly stands in; without it, the groups in turn
    missing_cells : what is done where a class lacks a group in a split: `refuse` (as without it: `validate` does),
        `drop_class` from all splits, or `merge` groups before anything is split. The card says what was done
    """

    source: Choice
    splits: SplitShares
    colours: Annotated[dict[Slug, Tint], Field(min_length=2)] | None = None
    own_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    paint: Literal["foreground", "stroke", "background", "behind", "around"] | None = None
    owners: Annotated[tuple[Slug, ...], Field(strict=False)] | None = None
    missing_cells: MissingCells | None = None

    @property
    def in_a_bucket(self) -> bool:
        """Whether something of the source lies at a URL, where DVC does not look for changes."""
        named = self.source.options.values()
        places = [place for value in named for place in (value.values() if isinstance(value, dict) else [value])]
        return any(isinstance(place, str) and "://" in place for place in places)

    @model_validator(mode="after")
    def _colouring(self) -> "Data":
        keys = ("colours", "own_share", "paint")
        lacking = [key for key in keys if getattr(self, key) is None]
        if 0 < len(lacking) < len(keys):
            faults = [InitErrorDetails(type="missing", loc=(key,), input=None) for key in lacking]
            raise ValidationError.from_exception_data("Data", faults)
        for name in self.owners or ():
            if name not in (self.colours or {}):
                raise ValueError(f"owners has {name!r}, which is none of data.colours")
        return self

    @model_serializer(mode="wrap")
    def _said(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not said has no key, as in the params of sets from before it could be."""
        later = ("owners", "missing_cells")
        return {key: value for key, value in dumped(self).items() if key not in later or value is not None}
