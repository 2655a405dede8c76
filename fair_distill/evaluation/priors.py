"""Correction of predictions for the shares of the classes in the training data.

A small set has as many examples of each class, so networks that are trained on it expect each class equally often. If
classes differ in frequency, such networks predict rare classes too often. For logits that estimate the logarithm of
P(c | x) up to a constant, Bayes' rule gives those under other shares: logit + log(share in the data / share in the
set). See Saerens, Latinne & Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural
Computation 14(1), 2002.
"""

import torch
from torch import Tensor

from fair_distill.card import TrainingRecipe


def prior_shift(recipe: TrainingRecipe, labels: Tensor) -> Tensor | None:
    """Return what to add to the logits of networks that were trained on a set, (C,); None if nothing is corrected.

    A class that is missing in the set or in the training data gets no correction: its logit means nothing.

    Parameters
    ----------
    labels : the class of each example of the set, (N,)
    """
    if recipe.priors is None:
        return None
    priors = torch.tensor(recipe.priors, dtype=torch.float64)
    shares = torch.bincount(labels.cpu(), minlength=len(priors)).double() / len(labels)
    known = (priors > 0) & (shares > 0)
    shift = torch.where(known, priors.clamp_min(1e-12).log() - shares.clamp_min(1e-12).log(), 0.0)
    return shift.float().to(labels.device)
