"""Stage `experts`: train the expert networks of a candidate whose matcher follows trajectories (mtt)."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.config import Candidate, Config
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256, to_json, write_bytes
from fair_distill.seeds import torch_generator
from fair_distill.stages.device import machine_provenance, torch_device
from fair_distill.stages.progress import ProgressCallback, StageProgress, ignore_progress
from fair_distill.stages.set_record import training_recipe
from fair_distill.stages.training_data import read_training_data
from fair_distill.stages.validate import read_validation
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.distillation.experts import ExpertFolder, Experts
    from fair_distill.storage.store import Store


def train_candidate_experts(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    device: str = "cpu",
    checkpoints: str | None = None,
    stopping: Callable[[], bool] = lambda: False,
    progress: ProgressCallback = ignore_progress,
) -> int:
    """Train the experts of one candidate, write their trajectories and return the number of experts.

    Parameters
    ----------
    checkpoints : folder or s3:// address that keeps finished experts until all are done. The output folder cannot keep
        them, because DVC empties it before it runs the stage again
    stopping : called after every epoch; if it returns True, the run stops, and finished experts are kept

    Raises
    ------
    ConfigError
        If the matcher in params.yaml uses no experts.
    Interrupted
        If `stopping` returned True.
    """
    from fair_distill.distillation.checkpoint import Interrupted
    from fair_distill.distillation.experts import train_experts
    from fair_distill.distillation.method import build_method
    from fair_distill.distillation.sampling import Normalisation
    from fair_distill.storage.schemes import open_store

    candidate, settings = config.candidate(name), _expert_settings(config)
    folder = expert_folder(workspace, config, name)
    if settings is not None and not isinstance(candidate, Candidate):
        workspace.experts(name).mkdir(parents=True, exist_ok=True)  # DVC expects the output of every candidate
        return 0
    if settings is None or folder is None or not isinstance(candidate, Candidate):
        raise ConfigError(
            f"params.yaml: distill.matcher is {config.distill.matcher.name!r}, which uses no experts; skip this stage"
        )
    read_validation(workspace)
    torch_dev = torch_device(device, threads=config.threads)
    train = read_training_data(workspace, config, torch_dev).dataset
    recipe = training_recipe(config, train, formation=1)
    store = open_store(str(checkpoints or workspace.checkpoints), source="--checkpoints")
    # The machine is part of the key, as it is for checkpoints: experts of machines with different rounding do not mix.
    run = sha256(to_json({"key": folder.key, "where": machine_provenance(config, device)}))
    shutil.rmtree(folder.folder, ignore_errors=True)
    _restore_finished(store, run, folder)

    def report(epoch: int, epochs: int) -> None:
        progress(StageProgress(epoch, epochs))
        if stopping():
            raise Interrupted(
                f"stopped after {epoch} of {epochs} epochs; run the same command again to resume from the last "
                "finished expert"
            )

    def keep(expert: int) -> None:
        content = folder.path(expert).read_bytes()
        store.put(f"{run}/{expert:04d}-{sha256(content)}.safetensors", content)

    train_experts(
        train,
        settings,
        config.distill.network,
        build_method(train, config.distill, candidate, device=torch_dev).alignment,
        folder=folder,
        normalise=Normalisation(recipe.mean, recipe.std),
        generator=lambda expert: torch_generator(config.seed, f"experts.{expert}"),
        device=torch_dev,
        progress=report,
        finished=keep,
    )
    store.clear(run)
    return settings.count


def _restore_finished(store: "Store", run: str, folder: "ExpertFolder") -> None:
    """Copy the experts that an interrupted run finished into the output folder."""
    for key in store.list(f"{run}/"):
        content, (expert, _, digest) = store.read(key), Path(key).stem.partition("-")
        if sha256(content) != digest:
            raise IntegrityError(f"{store.address(key)} is damaged; remove it to train that expert again")
        write_bytes(folder.path(int(expert)), content)


def expert_folder(
    workspace: Workspace, config: Config, name: str, *, source: str | None = None
) -> "ExpertFolder | None":
    """Return the folder of a candidate's expert trajectories; None if its matcher uses no experts.

    Parameters
    ----------
    source : SHA-256 of the training split; by default computed from the file
    """
    from fair_distill.distillation.experts import ExpertFolder

    settings = _expert_settings(config)
    if settings is None or not isinstance(config.candidate(name), Candidate):
        return None
    key = _expert_key(config, name, settings, source=source or sha256(workspace.split("train")))
    return ExpertFolder(workspace.experts(name), key)


def _expert_settings(config: Config) -> "Experts | None":
    from fair_distill.distillation.matchers import expert_settings

    return expert_settings(config.distill.matcher.name, config.distill.matcher.options)


def _expert_key(config: Config, name: str, settings: "Experts", *, source: str) -> str:
    """Return the digest of everything that experts depend on; runs with other student steps use the same experts."""
    from fair_distill.plugins import custom_source_digests

    inputs = config.model_dump(include={"engine", "seed", "threads"}) | {
        "candidate": config.candidate(name).model_dump(),
        "source": source,
        "network": config.distill.network.model_dump(),
        "experts": settings.model_dump(),
        "groups": config.distill.model_dump(include={"shrinkage", "unknown"}),
    }
    custom = custom_source_digests(inputs)
    return sha256(to_json(inputs | ({"own": custom} if custom else {})))
