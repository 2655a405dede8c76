"""The base class of all sections, and the types of their values: names, numbers, and a choice with options."""

from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fair_distill.errors import ConfigError
from fair_distill.text import validation_sentence

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _slug(name: str) -> str:
    """Refuse a name that could not be part of a file name, a DVC stage name and a registry key."""
    if not name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
        raise ValueError(f"the name is {name!r}; use only letters, digits, '-' and '_'")
    return name


def _dataset_name(name: str) -> str:
    parts = name.split("/")
    if len(parts) > 2:
        raise ValueError(f"the name is {name!r}; write `dataset` or `team/dataset`")
    return "/".join(map(_slug, parts))


Slug = Annotated[str, AfterValidator(_slug)]
DatasetName = Annotated[str, AfterValidator(_dataset_name)]


class Section(BaseModel):
    """A section of params.yaml: frozen, strict in its types, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Named(BaseModel):
    """A component by name, with its options: `mean`, or `{name: huber, delta: 1.0}` in params.yaml."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Choice = Annotated[Named, BeforeValidator(_named)]


def _data_text(value: object) -> object:
    """Return an integer as text. Other values that YAML reads as no text are refused with the way to write them."""
    if isinstance(value, bool | float | date):
        raise ValueError(f"YAML reads it as the {type(value).__name__} {value}; put the text in quotes")
    return str(value) if isinstance(value, int) else value


# A name or value that occurs in data, such as a class or a column. `[0, 1]` means `["0", "1"]`.
DataText = Annotated[str, BeforeValidator(_data_text)]
DataName = Annotated[DataText, Field(min_length=1)]

Names = Annotated[tuple[DataName, ...], Field(min_length=1, strict=False)]


S = TypeVar("S", bound=BaseModel)


def checked(kind: type[S], raw: dict[Any, Any], *, name: str) -> S:
    """Return the section that a mapping describes. Raises ConfigError, which names the file and the key at fault."""
    key = _key_of_large_integer(raw)
    if key is not None:
        raise ConfigError(f"{name}: {key} does not fit in 64 bits; use a smaller number")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{name}: {validation_sentence(error)}") from None


def _key_of_large_integer(value: object, key: str = "") -> str | None:
    """Return the key of the first integer above 64 bits; manifests contain the params, and readers refuse these."""
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else key
    if isinstance(value, dict):
        items = [(f"{key}.{name}" if key else str(name), item) for name, item in value.items()]
    else:
        items = [(key, item) for item in value] if isinstance(value, list | tuple) else []
    return next((large for name, item in items if (large := _key_of_large_integer(item, name)) is not None), None)
