"""The network pool: initialisation, training and replacement of networks."""

from itertools import pairwise
from typing import Any

import torch

from fair_distill.config import Networks
from fair_distill.distillation.network_pool import NetworkPool
from fair_distill.distillation.networks import Network, build, draw_weights

IMAGES = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 0, 1, 1])


def pool(**changed: Any) -> NetworkPool:
    settings: dict[str, Any] = {
        "pool": 1,
        "visits": 1,
        "warmup_epochs": 0,
        "advance": 0,
        "advance_on": "synthetic",
        "learning_rate": 0.1,
        "batch_size": 4,
    }
    generator = torch.Generator().manual_seed(0)

    def make() -> Network:
        return build("convnet", {"width": 4, "depth": 1}, (1, 4, 4), 2, generator)

    def lesson(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return IMAGES, LABELS, torch.full((4,), 0.25)

    def redraw(network: Network) -> None:
        draw_weights(network, generator)

    return NetworkPool(make, redraw, Networks.model_validate(settings | changed), [], generator, lesson)


def walk(networks: NetworkPool, steps: int, first: int = 0) -> list[torch.Tensor]:
    """Return the first weight of the network of every step."""
    seen = []
    for step in range(first, first + steps):
        network = networks.visit(step, IMAGES, LABELS)
        seen.append(next(network.parameters()).detach().clone())
        networks.advance(step, IMAGES, LABELS)
    return seen


def changes(weights: list[torch.Tensor]) -> list[bool]:
    return [not torch.equal(one, other) for one, other in pairwise(weights)]


def test_one_visit_means_a_new_network_at_every_step() -> None:
    assert changes(walk(pool(), 4)) == [True] * 3


def test_a_network_is_replaced_after_its_visits() -> None:
    assert changes(walk(pool(visits=3), 7)) == [False, False, True, False, False, True]


def test_advancing_trains_the_network_between_its_visits() -> None:
    for on in ("synthetic", "real"):
        assert changes(walk(pool(visits=3, advance=1, advance_on=on), 3)) == [True, True]


def test_a_warm_up_makes_the_loss_of_a_new_network_smaller() -> None:
    def loss(warmup_epochs: int) -> float:
        network = pool(warmup_epochs=warmup_epochs).visit(0, IMAGES, LABELS)
        return torch.nn.functional.cross_entropy(network(IMAGES), LABELS).item()

    assert loss(20) < loss(0)


def test_networks_take_turns_and_are_replaced_one_at_a_time() -> None:
    weights = walk(pool(pool=2, visits=4), 12)
    first, second = weights[::2], weights[1::2]

    assert changes(first) == [False, False, False, True, False]
    assert changes(second) == [False, True, False, False, False]  # Its initial age is half of the visits.


def test_a_restored_pool_continues_like_the_original() -> None:
    kept = pool(pool=2, visits=4, advance=1)
    walk(kept, 5)
    state, stream = kept.state(), kept.generator.get_state()
    after = walk(kept, 6, first=5)

    taken_up = pool(pool=2, visits=4, advance=1)
    taken_up.restore(state)
    taken_up.generator.set_state(stream)

    for one, other in zip(after, walk(taken_up, 6, first=5), strict=True):
        assert torch.equal(one, other)


def test_a_settled_network_is_replaced_before_its_visits_are_over() -> None:
    """Without training its accuracy is constant, so it has settled after two measurements."""
    settled = {"window": 2, "span": 0.01}

    assert changes(walk(pool(visits=9, settled=settled), 6)) == [False, True, False, True, False]
    assert not any(changes(walk(pool(visits=9), 6)))


def test_a_network_that_still_improves_has_not_settled() -> None:
    """Four images are learned one by one: the accuracy changes by at least a quarter, or not at all."""
    learning = pool(visits=50, advance=1, learning_rate=0.5, settled={"window": 3, "span": 0.2})
    walk(learning, 12)

    for turn, told in enumerate(learning.accuracies):
        full = len(told) == 3 and max(told) - min(told) <= 0.2
        assert (learning.ages[turn] >= 50) == full


def test_the_measured_accuracies_are_part_of_the_state() -> None:
    kept = pool(visits=9, advance=1, settled={"window": 4, "span": 0.2})
    walk(kept, 3)
    taken_up = pool(visits=9, advance=1, settled={"window": 4, "span": 0.2})
    taken_up.restore(kept.state())

    assert taken_up.accuracies == kept.accuracies
    assert len(kept.accuracies[0]) == 3
