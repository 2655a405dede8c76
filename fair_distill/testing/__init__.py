"""Contract tests for custom components: matchers, alignments, barycenters and networks.

Call a check from a test. Each check raises AssertionError with one line that names the violated rule. All inputs are
drawn from the given generator, so a seed reproduces a failure:

    def test_my_barycenter_satisfies_the_contract():
        check_barycenter(my_barycenter, torch.Generator().manual_seed(0))

The built-in components pass the same checks. In these modules: C classes, G groups, D dimensions, N images.
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
