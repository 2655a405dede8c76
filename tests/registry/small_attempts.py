"""Small gate splits and attempts at them, for tests of the record of attempts."""

from typing import Any

import numpy as np
from small_registry import NAME, NOW

from fair_distill.files import is_sha256, sha256
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import Attempt, Request, reserve
from fair_distill.registry.split_examples import SplitExamples
from fair_distill.registry.store import RegistryStore

CELLS = 4


def numbered(*ranges: range, split: str | None = None, **columns: Any) -> SplitExamples:
    """Return a split of the examples with these numbers, which are dealt to four cells in turn."""
    numbers = np.concatenate([np.asarray(some, dtype=np.int64) for some in ranges])
    contents = np.array([int(sha256(b"%d" % number)[:16], 16) for number in numbers], dtype=np.uint64)
    default = {"cells": numbers % CELLS, "clusters": np.arange(len(numbers)), "names": None}
    name = split or sha256(numbers.tobytes())
    return SplitExamples(split=name, contents=contents, **{**default, **columns}).kept()


def request(examples: SplitExamples, *, version: object = "1", **changes: Any) -> Request:
    """Return the request for an attempt of a version at a split."""
    digest = str(version) if is_sha256(version) else sha256(f"version {version}".encode())
    default = {"dataset": NAME, "version": digest, "evaluation": sha256(b"five seeds")}
    return Request(**{**default, "examples": examples, **changes})


def take(store: RegistryStore, examples: SplitExamples, *, fresh: str = "", **changes: Any) -> Attempt:
    """Reserve an attempt."""
    return reserve(store, request(examples, **changes), fresh=fresh, actor=Actor("ada", NOW, "n"))


def spent(store: RegistryStore, examples: SplitExamples, **changes: Any) -> float:
    """Return the fraction of alpha that an attempt at the split takes."""
    return take(store, examples, **changes).entry.fraction
