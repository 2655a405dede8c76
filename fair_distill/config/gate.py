"""The policy: `gate`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fair_distill.config.base import Names, Section, Slug


class Limit(Section):
    """One clause of the gate: a metric that must stay at or below, or at or above, a number; and why that number.

    Attributes
    ----------
    over : measure how much more it is than with another set, on the same examples: a reference's name, or `promoted`
    classes, groups : look at these alone
    by : look at the groups that these attributes make, the others pooled; at all of them together if not given
    against : hold each group against each other one (the default), or against the rest taken together
    first_release : with `over: promoted`, what holds while nothing is promoted
    """

    metric: str
    at_most: Annotated[float, Field(ge=0, le=1)] | None = None
    at_least: Annotated[float, Field(ge=-1, le=1)] | None = None
    over: Slug | None = None
    by: Names | None = None
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
        parts = [self.metric, f"over {self.over}" if self.over else "", f"by {', '.join(self.by)}" if self.by else ""]
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
