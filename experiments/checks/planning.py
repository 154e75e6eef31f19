"""How long it takes to plan what is kept of many unlike blocks within a budget."""

import statistics
import time

import numpy as np
from mem_dfa.experiments.terminal import screen


def seconds(blocks: int) -> float:
    """The median of three plans by `rotor`, for half of what keeping everything takes."""
    from mem_dfa.memory.replayed_plan import fastest_within
    from mem_dfa.memory.segments import BlockCost

    generator, found = np.random.default_rng(0), []
    with screen.progress(f"planning for {blocks} blocks"):
        for _ in range(3):
            kept, output, work = generator.integers(1, 100, (3, blocks)) * 2**16
            costs = [
                BlockCost(int(a + b), int(b), 2 * int(a + b), int(c))
                for a, b, c in zip(kept, output, work, strict=True)
            ]
            start = time.perf_counter()
            fastest_within(costs, sum(cost.kept for cost in costs) // 2)
            found.append(time.perf_counter() - start)
    return statistics.median(found)
