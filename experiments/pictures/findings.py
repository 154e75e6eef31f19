"""What measured numbers say in one sentence, for the title of a figure.

Every function returns "" where there is nothing to compare: then a figure has its plain name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mem_dfa.experiments.cells import catalogue

from mem_dfa import registry

_LEVEL = 0.05  # by which a line may differ from its end and is still level
_BASE = "bp"  # what all else is compared with
_FAR = 10  # points of accuracy
_FAMILIES = {True: "exact gradients", False: "other gradients"}
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Cost:
    """What an algorithm with its options takes of memory, and what more is to be said of it."""

    algorithm: str
    name: str
    memory: float  # in any unit
    more: str  # such as "at 1.2 times its time"


def is_exact(algorithm: str) -> bool:
    """Whether its gradients are those of backpropagation; KeyError for one of the user's own."""
    return {**registry.ALGORITHMS, **catalogue.PEERS}[algorithm].is_exact


def family(algorithm: str) -> str:
    """What its gradients are, in words; KeyError for one of the user's own."""
    return _FAMILIES[is_exact(algorithm)]


def number(value: float) -> str:
    """A size for a title, such as "1,003", "28" or "3.4"."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def least(values: Mapping[str, float], what: str) -> str:
    """Who takes least of what a mapping tells in MiB, beside bp: "peak" or the like."""
    if _BASE not in values or len(values) < 2:
        return ""
    base, name = values[_BASE], min(values, key=values.__getitem__)
    if values[name] >= base:
        return f"No {what} is below bp's {number(base)} MiB"
    share = f"{values[name] / base:.0%}".replace("%", " %")
    return f"{name}'s {what} is {share} of bp's: {number(values[name])} of {number(base)} MiB"


def growth(lines: Mapping[str, Points], what: str) -> str:
    """How what takes least of the deepest net that bp trains grew, and how bp.

    Args:
        lines: MiB against layers, rising, by algorithm.
        what: such as "step".
    """
    if _BASE not in lines or len(lines) < 2:
        return ""
    base = lines[_BASE]
    deepest = base[-1][0]
    reached = {name: dict(line)[deepest] for name, line in lines.items() if deepest in dict(line)}
    name = min(reached, key=reached.__getitem__)
    if reached[name] >= reached[_BASE]:
        return f"At {deepest} layers no {what} is below bp's {number(reached[_BASE])} MiB"
    own = [point for point in lines[name] if point[0] <= deepest]
    return f"{name}'s {what} {_course(own)} while bp's {_course(base)}"


def _course(line: Points) -> str:
    """Whether a line is level for the longer part of its way, and where it ends."""
    (first, begin), (last, end) = line[0], line[-1]
    start = last
    for place, value in reversed(line):
        if abs(value - end) > _LEVEL * end:
            break
        start = place
    if start - first <= (last - first) / 2:
        return f"stays at {number(end)} MiB from {start} to {last} layers"
    return f"{'grows' if end > begin else 'shrinks'} to {number(end)} MiB"


def savings(costs: Sequence[Cost], what: str) -> str:
    """What takes least with exact gradients, and with other gradients, over bp's of ``what``."""
    base = next((cost for cost in costs if cost.name == _BASE), None)
    told: list[str] = []
    is_said = False  # of what there are shares
    for kind in _FAMILIES.values():
        own = [cost for cost in costs if family(cost.algorithm) == kind]
        if base is None or not own or own == [base]:
            continue
        best = min(own, key=lambda cost: cost.memory)
        if best.memory < base.memory:
            share = f"{best.memory / base.memory:.0%}".replace("%", " %")
            takes = share if is_said else f"takes {share} of bp's {what}"
            told.append(f"{best.name} {takes} {best.more} with {kind}")
            is_said = True
        else:
            told.append(f"nothing with {kind} takes less {what} than bp")
    return ", ".join(told)


def behind(accuracies: Mapping[str, float], epochs: int) -> str:
    """How far the best of other gradients is from bp, of accuracies in % by rule."""
    random = {
        name: value for name, value in accuracies.items() if not is_exact(name.partition(" ")[0])
    }
    if _BASE not in accuracies or not random:
        return ""
    name = max(random, key=random.__getitem__)
    reached, base = round(random[name], 1), round(accuracies[_BASE], 1)
    how = "behind" if reached <= base else "ahead of"
    apart = f"{abs(base - reached):.1f} points {how} bp: {reached:.1f} against {base:.1f} %"
    return f"After {epochs} epochs {name}, the best of other gradients, is {apart}"


def at_depth(accuracies: Mapping[str, Mapping[int, float]]) -> str:
    """Who is nearest to bp in the deepest net that bp trains, and how many are far behind.

    Args:
        accuracies: in %, against hidden layers, by rule.
    """
    if _BASE not in accuracies:
        return ""
    depth = max(accuracies[_BASE])
    base = accuracies[_BASE][depth]
    others = {n: line[depth] for n, line in accuracies.items() if n != _BASE and depth in line}
    if not others:
        return ""
    name = max(others, key=others.__getitem__)
    apart = round(base, 1) - round(others[name], 1)
    how = f"{abs(apart):.1f} points {'behind' if apart >= 0 else 'ahead of'} bp's {base:.1f} %"
    far = sum(base - value > _FAR for value in others.values())
    count, verb = far or "none", "are" if far > 1 else "is"
    rest = f"{count} of {len(others)} rules {verb} more than {_FAR} points behind"
    return f"At {depth} hidden layers {name} is best, {how}; {rest}"


def aligned(angles: Mapping[str, float], epochs: int) -> str:
    """Whose updates are nearest to bp's, and whose farthest, of angles in degrees by rule."""
    if len(angles) < 2:
        return ""
    near, far = (pick(angles, key=angles.__getitem__) for pick in (min, max))
    low, high = (f"{angles[name]:.0f}°" for name in (near, far))
    if low == high:
        return f"After {epochs} epochs the updates of all rules are {low} from bp's"
    apart = f"{near}'s updates are nearest to bp's, {low}, {far}'s farthest, {high}"
    return f"After {epochs} epochs {apart}"


def largest(sizes: Mapping[str, int]) -> str:
    """Who trains the largest batch, beside bp."""
    if _BASE not in sizes or len(sizes) < 2:
        return ""
    name, base = max(sizes, key=sizes.__getitem__), sizes[_BASE]
    if sizes[name] <= base:
        return f"No batch is larger than bp's {base:,}"
    return f"{name} trains batches {sizes[name] / base:.1f} times as large as bp's"
