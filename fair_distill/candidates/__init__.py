"""The kinds of candidates: small sets that can be released, whoever or whatever made them."""

from fair_distill.candidates.coreset import select_coreset
from fair_distill.candidates.custom import make_custom
from fair_distill.candidates.distilled import distil
from fair_distill.candidates.imported import import_set
from fair_distill.candidates.maker import Inputs, Made, Maker
from fair_distill.config import AnyCandidate, Candidate, Coreset, Custom, Imported

__all__ = ["MAKERS", "Inputs", "Made", "make_candidate"]

# To add a kind, write its section in config.candidates and its function in a file of this folder, and add a line here.
MAKERS: dict[type[AnyCandidate], Maker] = {
    Candidate: distil,
    Coreset: select_coreset,
    Imported: import_set,
    Custom: make_custom,
}


def make_candidate(candidate: AnyCandidate, inputs: Inputs) -> Made:
    """Make a candidate as its kind demands. Raises what the function of its kind raises."""
    return MAKERS[type(candidate)](candidate, inputs)
