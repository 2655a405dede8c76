"""The section `data`: the source of the examples, their groups and their splits."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails

from fair_distill.config.sections import Choice, PositiveFloat, Section, Sha256, Slug
from fair_distill.config.sections import DataName as Name

Colour = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]


def _share(value: object) -> float | str:
    """Check a share, or the name of a split. With a union, pydantic would report an error for each of its members."""
    if isinstance(value, str) and value:
        return value
    share: float = _SHARE.validate_python(value, strict=True)
    return share


def _group_colour(value: object) -> list[int] | str:
    if isinstance(value, str):
        if value not in {"grey", "original"}:
            raise ValueError(f"the colour is {value!r}; write three numbers from 0 to 255, `grey` or `original`")
        return value
    colour: list[int] = _COLOUR.validate_python(value, strict=True)
    return colour


_SHARE: TypeAdapter[float] = TypeAdapter(PositiveFloat)
_COLOUR: TypeAdapter[list[int]] = TypeAdapter(Colour)
Share = Annotated[float | str, PlainValidator(_share)]
GroupColour = Annotated[list[int] | str, PlainValidator(_group_colour)]


class SplitShares(Section):
    """The split of the examples.

    Attributes
    ----------
    train, tune, gate : a share of the examples, or the name of the split in the source; shares divide the examples
        that are in none of the named splits
    """

    train: Share
    tune: Share
    gate: Share

    @model_validator(mode="after")
    def _sum(self) -> "SplitShares":
        values = [self.train, self.tune, self.gate]
        shares = [share for share in values if not isinstance(share, str)]
        if shares and abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"the shares sum to {sum(shares):g}; change them so that they sum to 1")
        for name in values:
            if isinstance(name, str) and values.count(name) > 1:
                raise ValueError(f"two splits have the name {name!r}; use each split of the source once")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The splits that get a share of the examples, without those that the source names."""
        return {name: share for name, share in self.model_dump().items() if not isinstance(share, str)}


def _plain(value: Any) -> Any:
    """Return a section as plain values. Without this, pydantic warns that a value is of another member of the union."""
    return value.model_dump() if isinstance(value, Section) else value


def _value_merges(value: object) -> dict[str, Any]:
    """Check merged attribute values; see `_share` for why this is not a union."""
    if not isinstance(value, dict) or not value:
        raise ValueError(f"it is {value!r}; write {{NAME: [VALUE]}} or {{ATTRIBUTE: {{NAME: [VALUE]}}}}")
    entries = _ENTRIES.validate_python(value)
    return {
        key: _BY_NAME.validate_python(item) if isinstance(item, dict) else _VALUES.validate_python(item)
        for key, item in entries.items()
    }


def _dropped_values(value: object) -> Any:
    if not isinstance(value, list | tuple | dict) or not value:
        raise ValueError(f"it is {value!r}; write [VALUE] or {{ATTRIBUTE: [VALUE]}}")
    return _BY_NAME.validate_python(value) if isinstance(value, dict) else _VALUES.validate_python(value)


Values = Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
_VALUES: TypeAdapter[tuple[str, ...]] = TypeAdapter(Values)
_ENTRIES: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[Name, Any])
_BY_NAME: TypeAdapter[dict[str, tuple[str, ...]]] = TypeAdapter(Annotated[dict[Name, Values], Field(min_length=1)])
ValueMerges = Annotated[
    dict[Name, tuple[Name, ...] | dict[Name, tuple[Name, ...]]], PlainValidator(_value_merges), PlainSerializer(dict)
]
DroppedValues = Annotated[
    tuple[Name, ...] | dict[Name, tuple[Name, ...]],
    PlainValidator(_dropped_values),
    PlainSerializer(lambda value: value),
]


class Merge(Section):
    """Groups that are merged before the data are split.

    Attributes
    ----------
    merge : for each new group, the groups that it consists of
    """

    merge: Annotated[dict[Name, Annotated[tuple[Name, ...], Field(min_length=2, strict=False)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _once(self) -> "Merge":
        groups = [group for parts in self.merge.values() for group in parts]
        for group in groups:
            if groups.count(group) > 1:
                raise ValueError(f"the group {group!r} is merged twice; list it once")
        return self

    @property
    def becomes(self) -> dict[str, str]:
        """For each group that is merged, the name of the new group."""
        return {group: name for name, groups in self.merge.items() for group in groups}


class Groups(Section):
    """Attribute values that are merged or dropped before the data are split.

    Attributes
    ----------
    merge : for each name, the attribute values that become it; or for each attribute, such a mapping for its values
    drop : attribute values whose examples are removed; or for each attribute, a list of its values
    """

    merge: ValueMerges | None = None
    drop: DroppedValues | None = None

    @model_validator(mode="after")
    def _once(self) -> "Groups":
        if self.merge is None and self.drop is None:
            raise ValueError("it has neither merge nor drop; set one of them, or remove the section")
        values = [(attribute, value) for _, attribute, listed in self.declared for value in listed]
        for attribute, value in values:
            if values.count((attribute, value)) > 1 or (attribute is not None and (None, value) in values):
                raise ValueError(f"the value {value!r} is merged twice, or merged and dropped; list it once")
        return self

    @property
    def declared(self) -> list[tuple[str, str | None, tuple[str, ...]]]:
        """The key, the attribute and the values of each declaration; None stands for all attributes."""
        merged = [("merge", attribute, values) for attribute, _, values in self._merged]
        return merged + [("drop", attribute, values) for attribute, values in self._dropped]

    def becomes(self, attribute: str) -> dict[str, str]:
        """For each value of an attribute that is merged, the name that it becomes."""
        merged = [(name, values) for scope, name, values in self._merged if scope in (None, attribute)]
        return {value: name for name, values in merged for value in values}

    def dropped(self, attribute: str) -> tuple[str, ...]:
        """Return the values of an attribute whose examples are removed."""
        return tuple(value for scope, values in self._dropped if scope in (None, attribute) for value in values)

    @property
    def _merged(self) -> list[tuple[str | None, str, tuple[str, ...]]]:
        """The attribute (None for all), the new name and the values of each merge."""
        merged: list[tuple[str | None, str, tuple[str, ...]]] = []
        for key, item in (self.merge or {}).items():
            if isinstance(item, dict):
                merged += [(key, name, values) for name, values in item.items()]
            else:
                merged.append((None, key, item))
        return merged

    @property
    def _dropped(self) -> list[tuple[str | None, tuple[str, ...]]]:
        """The attribute (None for all) and the values that are dropped."""
        dropped: list[tuple[str | None, tuple[str, ...]]] = []
        if isinstance(self.drop, dict):
            dropped += self.drop.items()
        elif self.drop is not None:
            dropped.append((None, self.drop))
        return dropped

    @model_serializer(mode="wrap")
    def _without_absent_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys without a value, so that sets from before `drop` keep their digest."""
        return {key: value for key, value in serialise(self).items() if value is not None}


def _missing_cells(value: object) -> object:
    """Check the treatment of missing cells; see `_share` for why this is not a union."""
    if isinstance(value, dict):
        return Merge.model_validate(value)
    if value not in ("refuse", "drop_class"):
        raise ValueError(f"it is {value!r}; write refuse, drop_class, or {{merge: {{NEW: [GROUP, GROUP]}}}}")
    return value


MissingCells = Annotated[
    Literal["refuse", "drop_class"] | Merge, PlainValidator(_missing_cells), PlainSerializer(_plain)
]


class Data(Section):
    """Examples with classes and groups. The groups are those of the source, or colours that `prepare` paints.

    Attributes
    ----------
    source : where the examples come from
    splits : how the examples are split
    colours : the groups to create by colouring images of a source without groups
    own_share : share of the training images of each class that get the main colour of the class
    paint : the pixels that get the colour. `foreground`: bright pixels, with their brightness. `stroke`: bright pixels;
        the others become black. `background`: dark pixels; the others become black. `behind`: dark pixels, with their
        darkness. `around`: black pixels; the others stay as they are
    owners : the main group of each class; without it, the classes take the groups in turn
    groups : attribute values of the source that are merged or dropped
    missing_cells : what to do if a class has no example of a group in a split. `refuse`, the default:
        `validate` fails. `drop_class`: remove the class from all splits. `merge`: merge groups before the data are
        split. The card records the treatment
    blocklist : the SHA-256 of blocklist.json, which `fair-distill erase` writes; `prepare` leaves out the people on it
    """

    source: Choice
    splits: SplitShares
    colours: Annotated[dict[Slug, GroupColour], Field(min_length=2)] | None = None
    own_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    paint: Literal["foreground", "stroke", "background", "behind", "around"] | None = None
    owners: Annotated[tuple[Slug, ...], Field(strict=False)] | None = None
    groups: Groups | None = None
    missing_cells: MissingCells | None = None
    blocklist: Sha256 | None = None

    @property
    def in_a_bucket(self) -> bool:
        """Whether the source reads from a URL, where DVC does not notice changes."""
        options = self.source.options.values()
        values = [value for option in options for value in (option.values() if isinstance(option, dict) else [option])]
        return any(isinstance(value, str) and "://" in value for value in values)

    @model_validator(mode="after")
    def _colouring(self) -> "Data":
        keys = ("colours", "own_share", "paint")
        missing = [key for key in keys if getattr(self, key) is None]
        if 0 < len(missing) < len(keys):
            faults = [InitErrorDetails(type="missing", loc=(key,), input=None) for key in missing]
            raise ValidationError.from_exception_data("Data", faults)
        for name in self.owners or ():
            if name not in (self.colours or {}):
                raise ValueError(
                    f"owners contains {name!r}, which is not in data.colours; add the colour, or correct the name"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_absent_options(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out optional keys without a value, so that sets from before these keys keep their digest."""
        optional = ("owners", "groups", "missing_cells", "blocklist")
        return {key: value for key, value in serialise(self).items() if key not in optional or value is not None}
