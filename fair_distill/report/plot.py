"""A figure as values: marks at places from 0 to 100 along each axis. The template draws them; here is no SVG.

Places are shares of the plot's width and height, so that a figure takes any width and its words stay as large as the
text around it. x grows to the right and y downwards, as on a page.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# How the template names shapes and colours: one of each for a group or a set, in this order, and round again.
SHAPES = ("circle", "square", "diamond", "triangle")
COLOURS = 7


@dataclass(frozen=True)
class Dot:
    """A mark. `hue` is the number of a colour, `shape` the name of a shape; `title` is said where it is pointed at."""

    x: float
    y: float
    hue: int
    shape: str = "circle"
    style: str = "solid"
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A straight line; `style` is a class of the style sheet."""

    x1: float
    y1: float
    x2: float
    y2: float
    style: str
    hue: int = -1


@dataclass(frozen=True)
class Path:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    style: str
    hue: int = -1

    @property
    def d(self) -> str:
        return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in self.points)


@dataclass(frozen=True)
class Band:
    """A shaded rectangle."""

    x: float
    y: float
    width: float
    height: float
    style: str


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Key:
    """An entry of the legend."""

    text: str
    hue: int
    shape: str = "circle"
    style: str = "solid"


@dataclass(frozen=True)
class Plot:
    """One figure.

    Attributes
    ----------
    says : what is to be seen, for whoever does not see it
    height : in lines of text
    rows : names of rows, evenly spread from top to bottom, in place of ticks at the side
    """

    says: str
    height: float
    marks: tuple[Dot | Line | Path | Band, ...]
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    x_label: str = ""
    y_label: str = ""
    rows: tuple[str, ...] = ()
    legend: tuple[Key, ...] = field(default=())


@dataclass(frozen=True)
class Axis:
    """Numbers to places: `low` is at 0 and `high` at 100."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        return 100 * (value - self.low) / (self.high - self.low)

    def down(self, value: float) -> float:
        """The place on an axis that grows upwards."""
        return 100 - self(value)

    def ticks(self, show: Callable[[float], str], *, about: int = 5) -> tuple[Tick, ...]:
        return tuple(Tick(self(value), show(value)) for value in _steps(self.low, self.high, about))

    def up(self, show: Callable[[float], str], *, about: int = 5) -> tuple[Tick, ...]:
        """Ticks of an axis that grows upwards."""
        return tuple(Tick(self.down(value), show(value)) for value in _steps(self.low, self.high, about))


def axis(values: Sequence[float], *, start: float | None = None, end: float | None = None) -> Axis:
    """Return an axis that holds the values and begins and ends at round numbers, or at `start` and `end`."""
    low = min(values) if start is None else start
    high = max(values) if end is None else end
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = _step(low, high, 5)
    return Axis(
        math.floor(low / step + 1e-9) * step if start is None else start,
        math.ceil(high / step - 1e-9) * step if end is None else end,
    )


def _step(low: float, high: float, about: int) -> float:
    """A round step (1, 2 or 5 times a power of ten) that gives about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


def _steps(low: float, high: float, about: int) -> list[float]:
    step = _step(low, high, about)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def middle(row: int, rows: int) -> float:
    """The place of a row's middle."""
    return 100 * (row + 0.5) / rows


def shape_of(index: int) -> str:
    """The shape of a group: with its colour it tells apart as many as there are of both together."""
    return SHAPES[index % len(SHAPES)]


def hue_of(index: int) -> int:
    return index % COLOURS
