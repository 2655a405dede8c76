"""params.yaml as frozen, typed values. The only file that reads YAML.

Every key is required and unknown keys are refused: a default in code would be science outside params.yaml,
and a misspelt key would be science that silently does not happen.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from fair_distill.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _slug(name: str) -> str:
    """Names become file names, DVC stage names and registry keys: letters, digits, '-', '_' and nothing else."""
    if not name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
        raise ValueError(f"a name is made of letters, digits, '-' and '_'; got {name!r}")
    return name


Slug = Annotated[str, AfterValidator(_slug)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Named(BaseModel):
    """A choice by name, with its options: `mean`, or `{name: huber, delta: 1.0}` in params.yaml."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Choice = Annotated[Named, BeforeValidator(_named)]
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


class Validate(Section):
    minimum_per_cell: Positive
    maximum_imbalance: Annotated[float, Field(ge=1, allow_inf_nan=False)]


class Recipe(Section):
    """How to train on a set. Part of what is published, so it names the version."""

    network: Choice
    steps: Positive
    batch_size: Positive
    learning_rate: PositiveFloat
    momentum: Fraction
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    augment: list[str]


class Settled(Section):
    """A network has learned what there is: over `window` visits its accuracy on real images spans `span` at most."""

    window: Annotated[int, Field(ge=2)]
    span: Annotated[float, Field(gt=0, lt=1)]


class Networks(Section):
    """How the networks that a set is matched under come and age; see `distill.pool`.

    Attributes
    ----------
    settled : renew a network before its visits are over, when it has; without it, `visits` alone decides
    """

    pool: Positive
    visits: Positive
    warmup_epochs: Natural
    advance: Natural
    advance_on: Literal["synthetic", "real"]
    learning_rate: PositiveFloat
    batch_size: Positive
    settled: Settled | None = None


class Optimiser(Section):
    """What moves the pixels. `momentum` is SGD's, or Adam's first beta."""

    name: Literal["sgd", "adam"]
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]


class Shrinkage(Section):
    """Thin cells stand nearer to their parents; `prior` is how many examples a parent is worth."""

    prior: PositiveFloat


class Rows(Section):
    """How the rows of a table are optimised; see `distillation.valid`."""

    temperature: PositiveFloat


class Distill(Section):
    """How every candidate is distilled.

    Attributes
    ----------
    rows : for the rows of a table, and only for them
    """

    matcher: Choice
    network: Choice
    networks: Networks
    ipc: Positive
    formation: Annotated[int, Field(ge=1, le=4)]
    steps: Positive
    real_per_class: Positive
    embedding: Literal["exact", "fast"]
    distance: Literal["squared", "l1", "cosine"]
    reduce: Literal["sum", "mean"]
    optimiser: Optimiser
    start: Literal["group_stratified", "natural", "noise"]
    augment: list[str]
    shrinkage: Shrinkage | None
    unknown: Choice
    rows: Rows | None = None


class Diagnostics(Section):
    """What residuals are measured on; see `distillation.diagnostics`.

    Attributes
    ----------
    networks : untrained networks, made as distill.network says
    rows_per_cell : real images of a class and group that are embedded, at most
    """

    networks: Positive
    rows_per_cell: Positive


class Nearness(Section):
    """What counts as a near copy of a training image; see `distillation.nearness`.

    Attributes
    ----------
    quantile : the share of hold-out images that an image must be nearer than
    holdout_per_class : images of the tune split that are looked at, at most
    """

    quantile: Annotated[float, Field(gt=0, lt=1)]
    holdout_per_class: Positive


class Candidate(Section):
    """What may differ between the sets that are compared: the alignment, and nothing else."""

    alignment: Choice
    barycenter: Choice | None = None
    group_weights: dict[str, PositiveFloat] | None = None

    @model_validator(mode="after")
    def _barycenter(self) -> "Candidate":
        if (self.alignment.name == "barycentric") != (self.barycenter is not None):
            raise ValueError("a barycenter belongs to `alignment: barycentric`, and only to it")
        if self.group_weights is not None and self.alignment.name == "pooled":
            raise ValueError("`alignment: pooled` takes its group weights from the data")
        return self


class Reference(Section):
    """Real images to measure against; with a formation above 1, each stored image holds formation² smaller ones."""

    select: Literal["all", "random", "group_balanced", "herding", "k_centre"]
    formation: Annotated[int, Field(ge=1, le=4)] | None = None


class Evaluate(Section):
    """What is trained on every set: so many networks of each architecture, by the set's recipe."""

    seeds: Positive
    networks: Annotated[tuple[Choice, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _distinct(self) -> "Evaluate":
        names = [network.name for network in self.networks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"the architecture {twice!r} stands twice; verdicts name it, so once is enough")
        return self


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, strict=False)]


class Limit(Section):
    """One clause of the gate: a metric that must stay at or below, or at or above, a number; and why that number.

    Attributes
    ----------
    over : measure how much more it is than with another set, on the same examples: a reference's name, or `promoted`
    classes, groups : look at these alone
    against : hold each group against each other one (the default), or against the rest taken together
    first_release : with `over: promoted`, what holds while nothing is promoted
    """

    metric: str
    at_most: Annotated[float, Field(ge=0, le=1)] | None = None
    at_least: Annotated[float, Field(ge=-1, le=1)] | None = None
    over: Slug | None = None
    classes: Names | None = None
    groups: Names | None = None
    against: Literal["each", "rest"] | None = None
    first_release: Literal["accept", "refuse"] | None = None
    why: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _one_side(self) -> "Limit":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"metric {self.metric!r} needs exactly one of at_most and at_least")
        if self.at_least is not None and self.at_least < 0 and self.over is None:
            raise ValueError(f"at_least is {self.at_least:g}; only a difference `over` another set can be below 0")
        if (self.over == "promoted") != (self.first_release is not None):
            raise ValueError("`over: promoted` needs first_release, accept or refuse, and nothing else has it")
        return self

    @property
    def name(self) -> str:
        """What tells a clause from the others: all but its number and why. Waivers and policy floors name it so."""
        parts = [self.metric, f"over {self.over}" if self.over else ""]
        parts += [f"of classes {', '.join(self.classes)}" if self.classes else ""]
        parts += [f"of groups {', '.join(self.groups)}" if self.groups else ""]
        return " ".join(part for part in [*parts, "against the rest" if self.against == "rest" else ""] if part)


class Gate(Section):
    """The policy. `mode: bounds` decides by confidence bounds and says with what risk; `point` by the bare number.

    Attributes
    ----------
    alpha : risk of passing a set that breaks a limit, over all attempts at one split
    minimum_seeds : networks of each architecture, at least; two show scatter at all
    minimum_per_cell : independent examples (clusters) under every rate that a clause looks at, at least
    """

    mode: Literal["bounds", "point"]
    alpha: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    minimum_seeds: Annotated[int, Field(ge=2)] | None = None
    minimum_per_cell: Annotated[int, Field(ge=2)] | None = None
    limits: Annotated[tuple[Limit, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _whole(self) -> "Gate":
        for key in ("alpha", "minimum_seeds", "minimum_per_cell"):
            if (getattr(self, key) is None) == (self.mode == "bounds"):
                need = "needs" if self.mode == "bounds" else "has no"
                raise ValueError(f"`mode: {self.mode}` {need} {key}")
        names = [limit.name for limit in self.limits]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two clauses limit {name!r}; keep the stricter one")
        return self


class Release(Section):
    candidate: Slug
    channels: Annotated[list[Slug], Field(min_length=1)]


class Config(Section):
    engine: Positive
    seed: Annotated[int, Field(ge=0)]
    threads: Positive
    dataset: Slug
    data: Data
    validate_: Annotated[Validate, Field(alias="validate")]
    recipe: Recipe
    distill: Distill
    diagnostics: Diagnostics
    nearness: Nearness
    candidates: Annotated[dict[Slug, Candidate], Field(min_length=1)]
    references: dict[Slug, Reference]
    sets: Annotated[list[Slug], Field(min_length=1)]
    evaluate: Evaluate
    gate: Gate
    release: Release

    @model_validator(mode="after")
    def _names(self) -> "Config":
        both = self.candidates.keys() & self.references.keys()
        if both:
            raise ValueError(f"{', '.join(sorted(both))}: a name is a candidate or a reference, not both")
        known = [*self.references, *self.candidates]
        for name in self.sets:
            if name not in known:
                raise ValueError(f"sets names {name!r}; choose from {', '.join(known)}")
            if self.sets.count(name) > 1:
                raise ValueError(f"sets names {name!r} twice")
        if self.release.candidate not in self.candidates:
            raise ValueError(
                f"release.candidate is {self.release.candidate!r}; choose one of {', '.join(self.candidates)}"
            )
        return self

    def candidate(self, name: str) -> Candidate:
        return _of(self.candidates, name, "candidates")

    def reference(self, name: str) -> Reference:
        return _of(self.references, name, "references")


T = TypeVar("T")


def _of(section: dict[str, T], name: str, where: str) -> T:
    if name not in section:
        raise ConfigError(f"params.yaml: {where} has no {name!r}; choose one of {', '.join(section)}")
    return section[name]


class _Loader(yaml.SafeLoader):
    """YAML without its traps: a key that stands twice is refused, `1e-3` is a number as everybody means it."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for i, key in enumerate(keys):
        if key in keys[:i]:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: the key {key!r} stands twice")
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def load_config(path: Path) -> Config:
    """Read and check params.yaml.

    Raises
    ------
    ConfigError
        One line naming the file, the first key at fault, what was wanted and what came.
    """
    return parse_config(_read(path, missing="run this in a workspace, or name one with --workspace"), name=str(path))


def load_gate(path: Path) -> Gate:
    """Read and check a policy from a file of its own, or from another params.yaml: what stands under `gate` there."""
    raw = _read(path, missing="a policy was named and is not there")
    policy = raw.get("gate", raw)
    if not isinstance(policy, dict):
        raise ConfigError(f"{path}: gate: a mapping was wanted, got {type(policy).__name__}")
    return checked(Gate, policy, name=str(path))


def _read(path: Path, *, missing: str) -> dict[Any, Any]:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (derives from SafeLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; {missing}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable: {error}") from None
    # Not only YAMLError: a date that is none, or a tag that does not fit its value, is a ValueError or a LookupError.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a mapping of sections was wanted, got {type(raw).__name__}")
    return raw


def parse_config(raw: dict[Any, Any], *, name: str = "params.yaml") -> Config:
    """Check a mapping as `load_config` does; `name` is what an error calls it."""
    return checked(Config, raw, name=name)


S = TypeVar("S", bound=BaseModel)


def checked(kind: type[S], raw: dict[Any, Any], *, name: str) -> S:
    """Return a section made of `raw`. Raises ConfigError: `name`, the key at fault, what was wanted, what came."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        first = faults[0]
        where = " ".join(".".join(str(part) for part in first["loc"]).split()) or "params"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigError(f"{name}: {where}: {_sentence(first)}{more}") from None


def _sentence(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "no such key; remove it or mend its spelling"
    if fault["type"] == "missing":
        return "this key is needed and is not there"
    came = repr(fault["input"])
    came = came if len(came) <= 80 else came[:77] + "..."
    message = fault["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}" + ("" if fault["type"] == "value_error" else f"; got {came}")
