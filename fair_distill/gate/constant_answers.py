"""Networks that predict one class for every example: all gaps are 0, although they have learned nothing.

A training that is too short, or a set with too little signal, often ends so. A set that such networks were trained on
looks perfectly fair, and a clause that compares with it can hardly be satisfied or violated for a good reason.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fair_distill.gate.network_predictions import NetworkPredictions


def constant_architectures(networks: Sequence[NetworkPredictions]) -> tuple[str, ...]:
    """Return the architectures of which some network predicts one class for every example."""
    return tuple(predictions.network for predictions in networks if _are_constant(predictions).any())


def constant_sentences(
    networks: Sequence[NetworkPredictions], references: Mapping[str, Mapping[str, NetworkPredictions]]
) -> Iterator[str]:
    """Yield a sentence for each architecture whose networks predict one class for every example.

    Parameters
    ----------
    networks : of the set that is judged
    references : of the sets that clauses compare with, by name
    """
    for predictions in networks:
        constant = _constant_networks(predictions)
        if constant:
            yield f"{constant}, so its gaps are 0 whatever the data; a gap of this set shows no fairness"
    for name, by_network in references.items():
        for predictions in by_network.values():
            constant = _constant_networks(predictions)
            if constant:
                yield f"reference {name!r}: {constant}; clauses over {name} compare with a constant answer"


def _constant_networks(predictions: NetworkPredictions) -> str:
    """Return how many networks predict one class only, and which class; empty if there is none."""
    constant = _are_constant(predictions)
    if not constant.any():
        return ""
    names = [predictions.classes[c] for c in dict.fromkeys(predictions.predicted[constant, 0].tolist())]
    classes = f"class {names[0]!r}" if len(names) == 1 else f"one class ({', '.join(map(repr, names))})"
    count = f"{int(constant.sum())} of {len(constant)} networks of {predictions.network}"
    return f"{count} predict {classes} for every example"


def _are_constant(predictions: NetworkPredictions) -> NDArray[np.bool_]:
    """Return which networks predict one class only, (S,). Examples of one class show nothing about a network."""
    if len(set(predictions.labels.tolist())) < 2:
        return np.zeros(predictions.seeds, dtype=bool)
    return np.asarray((predictions.predicted == predictions.predicted[:, :1]).all(axis=1))
