"""The checks that ours must pass, for what one adds: a matcher, an alignment, a barycenter, a network.

Call them from a test. Each raises AssertionError with one line that says what does not hold. Inputs are drawn from the
generator that is given, so a seed names a failure:

    def test_my_barycenter_keeps_the_contract():
        check_barycenter(my_barycenter, torch.Generator().manual_seed(0))

In these files: C classes, G groups, D dimensions, N images.
"""

from fair_distill.testing.alignments import check_alignment
from fair_distill.testing.barycenters import check_barycenter, check_cloud_barycenter
from fair_distill.testing.matchers import check_matcher, contract_table
from fair_distill.testing.networks import check_network

__all__ = [
    "check_alignment",
    "check_barycenter",
    "check_cloud_barycenter",
    "check_matcher",
    "check_network",
    "contract_table",
]
