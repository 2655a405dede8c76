"""Ridge probe: linear heads that are fitted on the synthetic set in closed form must classify real examples.

For sets of features of a frozen encoder, with `distill.network: linear`. The idea is that of KIP (Nguyen, Chen & Lee,
ICLR 2021) and FRePo (Zhou, Nezhadarya & Ba, NeurIPS 2022): the fit of the head is differentiable, so the gradient of
its loss on real examples reaches the synthetic examples. New here: real examples have the weights of the alignment's
cells, several heads share one set, and the size of their logits is penalised, because a set of a few vectors of 1,280
numbers can otherwise learn thousands of real examples by heart, and then no weights of cells change it. Deviations:
cross-entropy instead of the squared error, and a constant network.

C classes, N synthetic examples, B real examples, D features, H heads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fair_distill.distillation.alignment import Alignment
from fair_distill.distillation.matchers.base import Learned, Matcher, Pair, Step
from fair_distill.errors import ConfigError

Penalty = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class RidgeProbe(Matcher):
    """Cross-entropy of real examples under ridge heads of the synthetic set.

    The loss is linear in the weights of the cells. So `per_group`, the sum of the groups' losses, is the loss of
    `barycentric` with the mean times the number of groups.

    Attributes
    ----------
    penalties : the ridge penalty of each head, relative to the mean squared length of the synthetic examples
    decay : the weight of the penalty on the size of the logits; see `logit_size`
    scale : the initial factor from the scores of a head to its logits; each head learns its factor
    scale_learning_rate : the learning rate of the logarithm of these factors
    """

    penalties: Annotated[list[Penalty], Field(min_length=1)]
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    scale: float
    scale_learning_rate: float

    supports = frozenset({"one_mean", "one_per_group"})

    def __post_init__(self) -> None:
        if len(self._names) != len(self.penalties):
            raise ConfigError(
                f"params.yaml: distill.matcher.penalties is {self.penalties}; give each penalty once, with at most six "
                "digits"
            )

    @property
    def _names(self) -> dict[str, float]:
        return {f"log_scale_{penalty:g}": penalty for penalty in self.penalties}

    @property
    def learned(self) -> Mapping[str, Learned]:
        start = float(torch.tensor(self.scale).log())
        return {name: Learned(start, self.scale_learning_rate) for name in self._names}

    def constrain(self, images: Tensor) -> Tensor:
        """Return the synthetic examples, none of them longer than √D.

        That is the root mean square length of real examples if all columns are standardised. Without a limit, vectors
        become several times as long, and other heads than those of the loss learn badly from them.
        """
        lengths = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
        limited: Tensor = images * (images[0].numel() ** 0.5 / lengths).clamp(max=1)
        return limited

    def pairs(self, step: Step) -> Iterator[Pair]:
        real = step.real
        examples = step.embedding.embed(step.network, real.images)
        synthetic = step.network.embed(step.synthetic.view(range(real.classes)))
        labels = torch.arange(real.classes, device=synthetic.device).repeat_interleave(step.synthetic.per_class)
        heads = ridge_heads(synthetic, labels, self.penalties, classes=real.classes)
        weights = real.weights(cell_weights(step.alignment)) / real.classes
        losses = []
        for head, name in zip(heads, self._names, strict=True):
            scaled = head * step.learned[name].exp()
            errors = F.cross_entropy(examples @ scaled, real.labels, reduction="none")
            losses.append((errors * weights).sum() + self.decay * logit_size(scaled, examples, weights))
        yield Pair([], (), torch.stack(losses).sum())


def ridge_heads(examples: Tensor, labels: Tensor, penalties: Sequence[float], *, classes: int) -> Tensor:
    """Return the ridge regression of centred one-hot labels on examples, without intercept: (H, D, C).

    Head h is (XᵀX + λ_h m I)⁻¹ Xᵀ (Y − 1/C), where m is the mean squared length of the examples. The system is solved
    in the smaller of N and D dimensions, in double precision: its condition number reaches N/λ. Differentiable.

    Parameters
    ----------
    examples : (N, D)
    labels : (N,)
    penalties : λ of each head
    """
    x = examples.double()
    centred = F.one_hot(labels, classes).double() - 1 / classes
    size, width = x.shape
    ridge = x.square().sum() / size * torch.tensor(penalties, dtype=x.dtype, device=x.device)[:, None, None]
    identity = torch.eye(min(size, width), dtype=x.dtype, device=x.device)
    if size <= width:
        factors = torch.linalg.cholesky(x @ x.T + ridge * identity)
        heads = x.T @ torch.cholesky_solve(centred.expand(len(penalties), -1, -1), factors)
    else:
        factors = torch.linalg.cholesky(x.T @ x + ridge * identity)
        heads = torch.cholesky_solve((x.T @ centred).expand(len(penalties), -1, -1), factors)
    return heads.to(examples.dtype)


def cell_weights(alignment: Alignment) -> Tensor:
    """Return the weight of each cell in a loss that is linear in these weights, (C, G)."""
    assert alignment.mixtures is not None, "the matcher supports only targets that are means of cells"
    return torch.stack([mixture.weight[:, None] * mixture.cells for mixture in alignment.mixtures]).sum(dim=0)


def logit_size(head: Tensor, examples: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over classes of the variance that the logits of a head would have if features were independent.

    For standardised features this is the squared norm of the head, (D, C). It does not change with the unit of the
    features.

    Parameters
    ----------
    examples : (B, D)
    weights : (B,), of the examples in the mean square of a feature
    """
    return head.square().sum() * (weights * examples.square().mean(dim=1)).sum()
