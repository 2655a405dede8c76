"""Distillation as a function of arrays: no YAML, no files of yours. The stage goes through the same loop."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from fair_distill.config import Candidate, Distill, checked
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import alignment_for
from fair_distill.distillation.experts import ExpertFolder, train_experts
from fair_distill.distillation.loop import Distilled, Streams, optimise
from fair_distill.distillation.matchers import experts_of
from fair_distill.distillation.presets import FOR_ROWS, PRESETS
from fair_distill.distillation.sampling import normalisation
from fair_distill.distillation.unknown_groups import with_known_groups
from fair_distill.errors import ConfigError
from fair_distill.seeds import torch_generator


def distill(
    dataset: GroupedDataset,
    *,
    preset: str = "default",
    alignment: str = "barycentric",
    barycenter: str | Mapping[str, Any] | None = None,
    group_weights: Mapping[str, float] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    **settings: Any,
) -> Distilled:
    """Distil group-labelled images, or the rows of a table, into a few per class.

    A matcher that follows experts (mtt) has them trained first, into a temporary folder that is gone afterwards; the
    stages `experts` and `distill` keep them.

    Parameters
    ----------
    dataset : see `GroupedDataset.from_arrays` and `GroupedDataset.from_rows`
    preset : a name in PRESETS, the settings that are not given; for rows, FOR_ROWS takes the place of what only images
        can do
    alignment : "pooled", "per_group" or "barycentric"
    barycenter : for "barycentric"; a name, or a mapping with `name` and options; the mean if not given
    settings : any key of params.yaml's section `distill`: matcher, network, ipc, steps, optimiser, ...; `networks` and
        `optimiser` may be given in part

    Returns
    -------
    Distilled
        `images`, float32 (C · ipc, channels, height, width), pixels over 255; `labels`; `losses`. Rows decode by
        `dataset.schema.decode(images)`.

    Raises
    ------
    ConfigError, DataError, Diverged
        As the loop does.
    """
    if preset not in PRESETS:
        raise ConfigError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    base = PRESETS[preset]
    if dataset.schema is not None:
        base = base | FOR_ROWS
    inner = {
        key: base[key] | value
        for key, value in settings.items()
        if key in ("networks", "optimiser") and isinstance(value, Mapping)
    }
    if alignment == "barycentric" and barycenter is None:
        barycenter = "mean"
    aligned = {"alignment": alignment, "barycenter": barycenter, "group_weights": group_weights and dict(group_weights)}
    chosen, where = checked(Distill, base | settings | inner, name="distill()"), torch.device(device)
    candidate = checked(Candidate, aligned, name="distill()")
    generator = torch_generator(seed, "distill.unknown")
    dataset = with_known_groups(dataset, chosen.unknown, chosen.network, generator=generator, device=where).dataset
    experts = experts_of(chosen.matcher.name, chosen.matcher.options)
    normalise = normalisation(dataset)
    with TemporaryDirectory() as folder:
        trajectories = ExpertFolder(Path(folder), key="")
        if experts:
            train_experts(
                dataset,
                experts,
                chosen.network,
                alignment_for(dataset, chosen, candidate, device=where),
                folder=trajectories,
                normalise=normalise,
                generator=lambda expert: torch_generator(seed, f"experts.{expert}"),
                device=where,
            )
        return optimise(
            dataset,
            chosen,
            candidate,
            normalise=normalise,
            streams=Streams.from_seed(seed),
            device=where,
            trajectories=trajectories if experts else None,
            progress=progress,
        )
