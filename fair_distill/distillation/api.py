"""Distillation of arrays, without params.yaml and without a workspace. The `distill` stage uses the same loop."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from fair_distill import freed_memory
from fair_distill.config import Candidate, Distill, checked
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.experts import ExpertFolder, train_experts
from fair_distill.distillation.loop import Distilled, Streams, optimise
from fair_distill.distillation.method import build_method
from fair_distill.distillation.presets import FOR_ROWS, PRESETS
from fair_distill.distillation.sampling import check_finite, normalisation
from fair_distill.distillation.unknown_groups import resolve_unknown_groups
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
    keep_freed_memory: bool = True,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    **settings: Any,
) -> Distilled:
    """Distil group-labelled images, or the rows of a table, into a few examples per class.

    For a matcher that follows experts (mtt), this trains the experts first, in a temporary folder that is then deleted.
    To keep the experts, use the stages `experts` and `distill` instead.

    Parameters
    ----------
    dataset : see `GroupedDataset.from_arrays` and `GroupedDataset.from_rows`
    preset : a name in PRESETS, for all settings that are not given. For rows, FOR_ROWS replaces the settings that apply
        only to images
    alignment : "pooled", "per_group" or "barycentric"
    barycenter : for "barycentric": a name, or a mapping with `name` and options; by default the mean
    group_weights : a weight for each group; equal weights by default
    seed : the seed of all random draws
    device : a torch device, for example "cpu" or "cuda"
    keep_freed_memory : whether this process keeps freed memory from now on, up to 1 GiB. With glibc, this saves about
        a third of the CPU time and raises the peak memory; with another C library it has no effect. See
        `fair_distill.freed_memory`
    progress : called after every step with the step, the number of steps and the loss
    settings : any key of the section `distill` of params.yaml: matcher, network, ipc, steps, optimiser, …. `networks`
        and `optimiser` may be given in part

    Returns
    -------
    Distilled
        `images`, float32 (C · ipc, channels, height, width), pixels divided by 255; `labels`; `losses`. For rows,
        `dataset.schema.decode(images)` returns the columns.

    Raises
    ------
    ConfigError
        If a setting is invalid, or the matcher does not support the alignment.
    DataError
        If a class has too few examples, or a pixel or number is NaN or infinite.
    Diverged
        If the loss or the images are no longer meaningful.
    """
    if keep_freed_memory:
        freed_memory.keep_freed_memory()
    if preset not in PRESETS:
        raise ConfigError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    base = PRESETS[preset]
    if dataset.schema is not None:
        in_pixels = base["optimiser"].get("unit") == "pixel"
        base = base | (FOR_ROWS if in_pixels else {"rows": FOR_ROWS["rows"]})
    partial_sections = {
        key: base[key] | value
        for key, value in settings.items()
        if key in ("networks", "optimiser") and isinstance(value, Mapping)
    }
    if alignment == "barycentric" and barycenter is None:
        barycenter = "mean"
    candidate = checked(
        Candidate,
        {"alignment": alignment, "barycenter": barycenter, "group_weights": group_weights and dict(group_weights)},
        name="distill()",
    )
    chosen = checked(Distill, base | settings | partial_sections, name="distill()")
    check_finite(dataset)
    torch_device = _usable_device(device)
    generator = torch_generator(seed, "distill.unknown")
    dataset = resolve_unknown_groups(
        dataset, chosen.unknown, chosen.network, generator=generator, device=torch_device
    ).dataset
    normalise = normalisation(dataset)
    method = build_method(dataset, chosen, candidate, device=torch_device)
    experts = method.matcher.follows
    with TemporaryDirectory() as folder:
        trajectories = ExpertFolder(Path(folder), key="")
        if experts:
            train_experts(
                dataset,
                experts,
                chosen.network,
                method.alignment,
                folder=trajectories,
                normalise=normalise,
                generator=lambda expert: torch_generator(seed, f"experts.{expert}"),
                device=torch_device,
            )
        return optimise(
            dataset,
            chosen,
            candidate,
            normalise=normalise,
            streams=Streams.from_seed(seed),
            device=torch_device,
            trajectories=trajectories if experts else None,
            progress=progress,
        )


def _usable_device(device: str) -> torch.device:
    """Return a device. Raises ConfigError if this machine does not have it."""
    try:
        torch_device = torch.device(device)
        torch.empty(0, device=torch_device)
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ConfigError(f"device is {device!r}, which cannot be used here: {reason}. Use 'cpu'") from None
    return torch_device
