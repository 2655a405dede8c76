"""The stage before `distill` for a method that follows experts: train them, keep where they went."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.config import Config
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256, to_json, write_bytes
from fair_distill.seeds import torch_generator
from fair_distill.stages.data import of_known_groups, validated
from fair_distill.stages.device import provenance_of, torch_device
from fair_distill.stages.progress import Progress, Reached, quiet
from fair_distill.stages.set_record import recipe_of
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.distillation.experts import ExpertFolder, Experts


def experts(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    device: str = "cpu",
    checkpoints: str | None = None,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = quiet,
) -> int:
    """Train the experts that one candidate follows; write their trajectories, return how many.

    Parameters
    ----------
    checkpoints : the folder or s3:// address where finished experts are kept until all are. DVC empties the folder
        that they end in before it runs the stage again
    stopping : asked after every epoch whether to stop; finished experts are kept
    """
    from fair_distill.distillation.checkpoint import Interrupted
    from fair_distill.distillation.experts import train_experts
    from fair_distill.distillation.method import build_method
    from fair_distill.distillation.sampling import Normalisation
    from fair_distill.storage.schemes import open_store

    candidate = config.candidate(name)
    wanted, folder = _wanted(config), followed(workspace, config, name)
    if wanted is None or folder is None:
        raise ConfigError(f"params.yaml: distill.matcher is {config.distill.matcher.name!r}, which follows no experts")
    validated(workspace)
    computed_on = torch_device(device, threads=config.threads)
    train = of_known_groups(workspace, config, computed_on).dataset
    recipe = recipe_of(config, train, formation=1)
    store = open_store(str(checkpoints or workspace.checkpoints), source="--checkpoints")
    # The machine is part of it, as for checkpoints: experts from where bytes come out otherwise are no half of a run.
    run = sha256(to_json({"key": folder.key, "where": provenance_of(config, device)}))
    shutil.rmtree(folder.folder, ignore_errors=True)
    for kept in store.list(f"{run}/"):
        content, (expert, _, digest) = store.read(kept), Path(kept).stem.partition("-")
        if sha256(content) != digest:
            raise IntegrityError(f"{store.address(kept)} is damaged; remove it to train that expert again")
        write_bytes(folder.path(int(expert)), content)

    def told(done: int, of: int) -> None:
        progress(Reached(done, of))
        if stopping():
            raise Interrupted(
                f"stopped after {done} of {of} epochs; the same command goes on from the last whole expert"
            )

    def keep(expert: int) -> None:
        content = folder.path(expert).read_bytes()
        store.put(f"{run}/{expert:04d}-{sha256(content)}.safetensors", content)

    train_experts(
        train,
        wanted,
        config.distill.network,
        build_method(train, config.distill, candidate, device=computed_on).alignment,
        folder=folder,
        normalise=Normalisation(recipe.mean, recipe.std),
        generator=lambda expert: torch_generator(config.seed, f"experts.{expert}"),
        device=computed_on,
        progress=told,
        finished=keep,
    )
    store.clear(run)
    return wanted.count


def followed(workspace: Workspace, config: Config, name: str) -> "ExpertFolder | None":
    """Return the trajectories that a candidate follows, or None for a method that follows none."""
    from fair_distill.distillation.experts import ExpertFolder

    wanted = _wanted(config)
    return None if wanted is None else ExpertFolder(workspace.experts(name), _key(workspace, config, name, wanted))


def _wanted(config: Config) -> "Experts | None":
    from fair_distill.distillation.matchers import expert_settings

    return expert_settings(config.distill.matcher.name, config.distill.matcher.options)


def _key(workspace: Workspace, config: Config, name: str, wanted: "Experts") -> str:
    """What experts depend on, and no more: other student steps follow the same ones."""
    from fair_distill.plugins import custom_source_digests

    makes = config.model_dump(include={"engine", "seed", "threads"}) | {
        "candidate": config.candidate(name).model_dump(),
        "source": sha256(workspace.split("train")),
        "network": config.distill.network.model_dump(),
        "experts": wanted.model_dump(),
        "groups": config.distill.model_dump(include={"shrinkage", "unknown"}),
    }
    return sha256(to_json(makes | ({"own": own} if (own := custom_source_digests(makes)) else {})))
