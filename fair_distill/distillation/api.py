"""Distillation as a function of arrays: no YAML, no files of yours. The stage goes through the same loop."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from fair_distill.config import Candidate, Distill, checked
from fair_distill.data.grouped import GroupedDataset
from fair_distill.distillation.alignment import build_alignment
from fair_distill.distillation.experts import ExpertFolder, train_experts
from fair_distill.distillation.loop import Distilled, Streams, stream
from fair_distill.distillation.loop import distill as run
from fair_distill.distillation.matchers import experts_of
from fair_distill.distillation.presets import PRESETS
from fair_distill.distillation.sampling import normalisation
from fair_distill.errors import ConfigError


def distill(
    dataset: GroupedDataset,
    *,
    preset: str = "dm",
    alignment: str = "barycentric",
    barycenter: str | Mapping[str, Any] | None = None,
    group_weights: Mapping[str, float] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    **settings: Any,
) -> Distilled:
    """Distil group-labelled images into a few per class.

    A matcher that follows experts (mtt) has them trained first, into a temporary folder that is gone afterwards; the
    stages `experts` and `distill` keep them.

    Parameters
    ----------
    dataset : see `GroupedDataset.from_arrays`
    preset : a name in PRESETS, the settings that are not given
    alignment : "pooled", "per_group" or "barycentric"
    barycenter : for "barycentric"; a name, or a mapping with `name` and options; the mean if not given
    settings : any key of params.yaml's section `distill`: matcher, network, ipc, steps, optimiser, ...; `networks` and
        `optimiser` may be given in part

    Returns
    -------
    Distilled
        `images`, float32 (C · ipc, channels, height, width), pixels over 255; `labels`; `losses`.

    Raises
    ------
    ConfigError, DataError, Diverged
        As the loop does.
    """
    if preset not in PRESETS:
        raise ConfigError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    base = PRESETS[preset]
    inner = {
        key: base[key] | value
        for key, value in settings.items()
        if key in ("networks", "optimiser") and isinstance(value, Mapping)
    }
    if alignment == "barycentric" and barycenter is None:
        barycenter = "mean"
    aligned = {"alignment": alignment, "barycenter": barycenter, "group_weights": group_weights and dict(group_weights)}
    chosen = checked(Distill, base | settings | inner, name="distill()")
    candidate = checked(Candidate, aligned, name="distill()")
    experts = experts_of(chosen.matcher.name, chosen.matcher.options)
    normalise = normalisation(dataset)
    with TemporaryDirectory() as folder:
        trajectories = ExpertFolder(Path(folder), key="")
        if experts:
            train_experts(
                dataset,
                experts,
                chosen.network,
                build_alignment(candidate, dataset.counts, dataset.group_names, device=torch.device(device)),
                folder=trajectories,
                normalise=normalise,
                generator=lambda expert: stream(seed, f"experts.{expert}"),
                device=torch.device(device),
            )
        return run(
            dataset,
            chosen,
            candidate,
            normalise=normalise,
            streams=Streams.from_seed(seed),
            device=torch.device(device),
            trajectories=trajectories if experts else None,
            progress=progress,
        )
