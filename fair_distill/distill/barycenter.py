"""Barycenters: where the groups' statistics meet. A plain function and a line in BARYCENTERS.

C classes, G groups, D dimensions. The only room that knows POT.
"""

from collections.abc import Callable

from torch import Tensor

from fair_distill.errors import ShapeError


def mean(cells_CGD: Tensor, weights_CG: Tensor) -> Tensor:
    """Return the weighted mean over groups: argmin_m Σ_a w_a ||Φ_a − m||².

    When each group is summarised by its mean, this is the 2-Wasserstein barycenter of the groups: that of point
    masses is the weighted average of the points (Agueh & Carlier, SIAM J. Math. Anal. 43(2), 2011).
    COBRA's default discrepancy (Moslemi et al., ICML 2026).

    Parameters
    ----------
    cells_CGD : (C, G, D)
        One statistic per class and group; what stands in absent cells does not matter.
    weights_CG : (C, G)
        Non-negative, summing to 1 over the groups of each class; 0 for absent cells.

    Returns
    -------
    (C, D)

    Raises
    ------
    ShapeError
        If there is not exactly one weight per class and group.
    """
    if cells_CGD.shape[:2] != weights_CG.shape:
        raise ShapeError(
            f"one weight per class and group is needed: got {tuple(weights_CG.shape)} for {tuple(cells_CGD.shape[:2])}"
        )
    return (weights_CG.unsqueeze(-1) * cells_CGD).sum(dim=1)


Barycenter = Callable[[Tensor, Tensor], Tensor]

# The one place a barycenter is added: write the function, add its line.
BARYCENTERS: dict[str, Barycenter] = {
    "mean": mean,
}
