"""A figure, its yardstick, their ratio: one JSON object a line."""

import json
import os
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Target:
    """What a line is held to. ``is_met`` is asked with the figure, the yardstick and their ratio."""

    text: str
    is_met: Callable[[float, float, float], bool]


def at_least(ratio: float) -> Target:
    """For rates: so much of the yardstick."""
    return Target(f"ratio >= {ratio:g}", lambda figure, yardstick, found: found >= ratio)


def at_most(ratio: float) -> Target:
    """For times: no more than so many yardsticks."""
    return Target(f"ratio <= {ratio:g}", lambda figure, yardstick, found: found <= ratio)


def figure_at_most(most: float) -> Target:
    """For what has a limit of its own; the yardstick shows what the bare library takes."""
    return Target(f"figure <= {most:g}", lambda figure, yardstick, found: figure <= most)


def above_at_most(most: float) -> Target:
    """For memory: so much more than the yardstick."""
    return Target(f"figure - yardstick <= {most:g}", lambda figure, yardstick, found: figure - yardstick <= most)


NO_TARGET = Target("none", lambda figure, yardstick, found: True)


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians over rounds that were run in turn, and the medians, least and greatest of the rounds' ratios."""

    figure: float
    yardstick: float
    ratio: float
    least: float
    greatest: float


def compare(ours: Callable[[], float], bare: Callable[[], float], rounds: int = ROUNDS) -> Compared:
    """Runs both in turn, so that a noisy minute falls on both. The first round of each is thrown away."""
    ours(), bare()
    return compared([(ours(), bare()) for _ in range(rounds)])


async def compare_async(
    ours: Callable[[], Awaitable[float]], bare: Callable[[], Awaitable[float]], rounds: int = ROUNDS
) -> Compared:
    """As ``compare``."""
    await ours(), await bare()
    return compared([(await ours(), await bare()) for _ in range(rounds)])


def compared(pairs: list[tuple[float, float]]) -> Compared:
    """Of rounds that are over: ours and bare of each."""
    ratios = [figure / yardstick for figure, yardstick in pairs]
    return Compared(
        statistics.median(figure for figure, _ in pairs),
        statistics.median(yardstick for _, yardstick in pairs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
    )


def tell(name: str, found: Compared, unit: str, target: Target, **more: object) -> None:
    """One line."""
    line = {
        "benchmark": name,
        "figure": _short(found.figure),
        "yardstick": _short(found.yardstick),
        "unit": unit,
        "ratio": _short(found.ratio),
        "ratios": [_short(found.least), _short(found.greatest)],
        "target": target.text,
        "met": bool(target.is_met(found.figure, found.yardstick, found.ratio)),
        # How many processes wanted a core in the last minute: far above the cores, rates say little.
        "load": round(os.getloadavg()[0], 1),
        **more,
    }
    print(json.dumps(line), flush=True)


def single(figure: float, yardstick: float) -> Compared:
    """What was measured once, or is a statistic already."""
    ratio = figure / yardstick if yardstick else 0.0
    return Compared(figure, yardstick, ratio, ratio, ratio)


def _short(value: float) -> float:
    return float(f"{value:.3g}") if abs(value) < 1_000 else round(value)
