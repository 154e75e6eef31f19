"""How an algorithm looks in every figure."""

from mem_dfa.experiments.cells import catalogue

from mem_dfa import registry
from mem_dfa.registry import OWN_LOOK, Look

LOOKS = {name: entry.look for name, entry in {**registry.ALGORITHMS, **catalogue.PEERS}.items()}


def look_of(algorithm: str) -> Look:
    """How an algorithm is drawn, everywhere the same."""
    return LOOKS.get(algorithm, OWN_LOOK)
