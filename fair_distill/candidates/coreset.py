"""Coresets as candidates: real examples that are selected from the training split."""

from fair_distill.candidates.maker import Inputs, Made
from fair_distill.config import Coreset
from fair_distill.evaluation.references import coreset_embedding, subset
from fair_distill.seeds import torch_generator


def select_coreset(candidate: Coreset, inputs: Inputs) -> Made:
    """Select distill.ipc examples of each class. Raises what `evaluation.references.subset` raises.

    The draws differ from those of the references, so that a comparison with a reference never compares a set with
    itself.
    """
    config, select = inputs.config, candidate.select
    formation = candidate.formation or config.distill.formation
    images, labels = subset(
        select,
        inputs.train,
        config.distill.ipc,
        formation,
        torch_generator(config.seed, f"candidates.{select}.{candidate.draw}"),
        embed=coreset_embedding(select, inputs.train, inputs.recipe, seed=config.seed, device=inputs.device),
    )
    return Made(images, labels, "subset", formation)
