"""params.yaml as frozen, typed values. Each file of this package defines some of its sections.

Every key is required, so that no default in the code changes a result. Unknown keys are errors, so that a misspelt key
never goes unnoticed. An optional key switches a feature on; without the key the feature is off.
"""

from fair_distill.config.candidates import BEST, AnyCandidate, Best, Coreset, Custom, Imported
from fair_distill.config.data import Data, SplitShares
from fair_distill.config.distill import (
    Candidate,
    Diagnostics,
    Distill,
    Nearness,
    Networks,
    Optimiser,
    Recipe,
    Shrinkage,
)
from fair_distill.config.engine import ENGINE, check_engine
from fair_distill.config.evaluate import Evaluate, Plateau, Reference
from fair_distill.config.gate import Exam, Gate, GateSplit, Limit, shortfall
from fair_distill.config.loading import load_config, load_floor, load_gate, parse_config
from fair_distill.config.params import Approvals, Budget, Config, Release
from fair_distill.config.sections import Named, Positive, PositiveFloat, Section, checked
from fair_distill.config.validate import CHECKS, Severity, Validate

__all__ = [
    "BEST",
    "CHECKS",
    "ENGINE",
    "AnyCandidate",
    "Approvals",
    "Best",
    "Budget",
    "Candidate",
    "Config",
    "Coreset",
    "Custom",
    "Data",
    "Diagnostics",
    "Distill",
    "Evaluate",
    "Exam",
    "Gate",
    "GateSplit",
    "Imported",
    "Limit",
    "Named",
    "Nearness",
    "Networks",
    "Optimiser",
    "Plateau",
    "Positive",
    "PositiveFloat",
    "Recipe",
    "Reference",
    "Release",
    "Section",
    "Severity",
    "Shrinkage",
    "SplitShares",
    "Validate",
    "check_engine",
    "checked",
    "load_config",
    "load_floor",
    "load_gate",
    "parse_config",
    "shortfall",
]
