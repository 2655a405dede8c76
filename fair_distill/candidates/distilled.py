"""Distilled candidates: synthetic examples that are optimised towards the statistics of the real ones."""

from fair_distill.candidates.maker import Inputs, Made
from fair_distill.config import Candidate
from fair_distill.distillation.loop import Streams, optimise
from fair_distill.distillation.sampling import Normalisation


def distil(candidate: Candidate, inputs: Inputs) -> Made:
    """Distil the training split. Raises what `distillation.loop.optimise` raises."""
    config, recipe = inputs.config, inputs.recipe
    result = optimise(
        inputs.train,
        config.distill,
        candidate,
        normalise=Normalisation(recipe.mean, recipe.std),
        streams=Streams.from_seed(config.seed),  # the same for every candidate: equal starting images and batches
        device=inputs.device,
        trajectories=inputs.trajectories,
        checkpoints=inputs.checkpoints,
        progress=inputs.progress,
    )
    diagnostics = {"first_loss": result.losses[0], "last_loss": result.losses[-1], **result.learned}
    return Made(result.images, result.labels, "distilled", config.distill.formation, result.losses, diagnostics)
