"""Where the data come from: `data`."""

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from fair_distill.config.base import Choice, PositiveFloat, Section, Slug

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


class Data(Section):
    """Images with classes, and their groups: those of the source, or colours that are painted on.

    Attributes
    ----------
    colours : the groups to make of a source that has none
    own_share : of each class's training images, how many stand in the class's own colour
    paint : what takes the colour; see `data.skew`
    """

    source: Choice
    splits: SplitShares
    colours: Annotated[dict[Slug, Tint], Field(min_length=2)] | None = None
    own_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    paint: Literal["foreground", "stroke", "background", "behind", "around"] | None = None

    @model_validator(mode="after")
    def _colouring(self) -> "Data":
        keys = ("colours", "own_share", "paint")
        lacking = [key for key in keys if getattr(self, key) is None]
        if 0 < len(lacking) < len(keys):
            faults = [InitErrorDetails(type="missing", loc=(key,), input=None) for key in lacking]
            raise ValidationError.from_exception_data("Data", faults)
        return self
