"""A figure as values: marks with coordinates from 0 to 100. The template turns them into SVG.

Coordinates are per cent of the plot's width and height, so that a figure has any width and its text keeps the size of
the text around it. x grows to the right and y downwards.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# Shapes and colours of the template. Groups and sets take them in this order, and start again at the end.
SHAPES = ("circle", "square", "diamond", "triangle")
COLOURS = 7


@dataclass(frozen=True)
class Dot:
    """A mark, with the number of its colour, the name of its shape, and a tooltip."""

    x: float
    y: float
    hue: int
    shape: str = "circle"
    style: str = "solid"
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A straight line. `style` is a class of the style sheet; `hue` is -1 if the style defines the colour."""

    x1: float
    y1: float
    x2: float
    y2: float
    style: str
    hue: int = -1


@dataclass(frozen=True)
class Path:
    """A line through several points."""

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
    """A tick of an axis, with its text."""

    position: float
    text: str


@dataclass(frozen=True)
class Key:
    """An entry of the legend, with the mark that it explains."""

    text: str
    hue: int
    shape: str = "circle"
    style: str = "solid"


@dataclass(frozen=True)
class Plot:
    """One figure.

    Attributes
    ----------
    description : the content of the figure in words, for screen readers
    height : in lines of text
    rows : names of evenly spaced rows, which replace the ticks of the y axis
    """

    description: str
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
    """A map from numbers to coordinates: `low` is at 0 and `high` at 100."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        return 100 * (value - self.low) / (self.high - self.low)

    def down(self, value: float) -> float:
        """Return the coordinate on an axis that grows upwards."""
        return 100 - self(value)

    def ticks(self, show: Callable[[float], str], *, count: int = 5) -> tuple[Tick, ...]:
        """Return about so many ticks at round numbers."""
        return tuple(Tick(self(value), show(value)) for value in _steps(self.low, self.high, count))

    def up(self, show: Callable[[float], str], *, count: int = 5) -> tuple[Tick, ...]:
        """Return the ticks of an axis that grows upwards."""
        return tuple(Tick(self.down(value), show(value)) for value in _steps(self.low, self.high, count))


def axis(values: Sequence[float], *, start: float | None = None, end: float | None = None) -> Axis:
    """Return an axis that contains the values. It starts and ends at round numbers, or at `start` and `end`."""
    low = min(values) if start is None else start
    high = max(values) if end is None else end
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = _step(low, high, 5)
    return Axis(
        math.floor(low / step + 1e-9) * step if start is None else start,
        math.ceil(high / step - 1e-9) * step if end is None else end,
    )


def _step(low: float, high: float, count: int) -> float:
    """Return a step of 1, 2 or 5 times a power of ten, which gives about so many ticks."""
    smallest = (high - low) / count
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= smallest * (1 - 1e-9))


def _steps(low: float, high: float, count: int) -> list[float]:
    step = _step(low, high, count)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def middle(row: int, rows: int) -> float:
    """Return the coordinate of the middle of a row."""
    return 100 * (row + 0.5) / rows


def shape_of(index: int) -> str:
    """Return the shape of a group. Shape and colour together distinguish 28 groups."""
    return SHAPES[index % len(SHAPES)]


def hue_of(index: int) -> int:
    """Return the number of the colour of a group."""
    return index % COLOURS
