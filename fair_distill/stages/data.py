"""The stages before anything is distilled: prepare the splits, and hold them against the contract."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.artifacts import SPLITS, Workspace, needed, parse_json, to_json, write_bytes
from fair_distill.config import Config
from fair_distill.errors import DataError
from fair_distill.stages.progress import Progress, Reached, quiet
from fair_distill.stages.seeds import numpy_generator, torch_generator

if TYPE_CHECKING:
    import torch

    from fair_distill.data.grouped import GroupedDataset
    from fair_distill.distillation.unknown import Resolved


_WORTH_TELLING = 10_000  # images; fewer are there before anyone could look


def prepare(workspace: Workspace, config: Config, *, progress: Progress = quiet) -> dict[str, "GroupedDataset"]:
    """Read the source, split it, colour it if told so; write train, tune and gate."""
    from fair_distill.data.schema import read_split

    paths = {name: workspace.split(name) for name in SPLITS}
    _write_splits(workspace, config, paths, progress)
    return {name: read_split(path, verify=False) for name, path in paths.items()}


def _write_splits(workspace: Workspace, config: Config, paths: Mapping[str, Path], progress: Progress = quiet) -> None:
    from fair_distill.data.prepare import plan
    from fair_distill.data.sources import read_source

    source = read_source(config.data.source.name, config.data.source.options, root=workspace.root)
    planned = plan(
        source,
        config.data,
        dealing=numpy_generator(config, "prepare.split"),
        colouring=numpy_generator(config, "prepare.colours"),
    )
    told = progress if len(source) >= _WORTH_TELLING else quiet
    planned.write(paths, progress=lambda done, of: told(Reached(done, of, images=1)))


def describe(workspace: Workspace, config: Config, *, progress: Progress = quiet) -> dict[str, Any]:
    """Return what `validate` would say of the splits that `prepare` would write. Writes nothing that stays."""
    from fair_distill.data.schema import read_split
    from fair_distill.validation.contract import validate as check

    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        paths = {name: Path(folder) / f"{name}.arrow" for name in SPLITS}
        _write_splits(workspace, config, paths, progress)
        return check({name: read_split(path) for name, path in paths.items()}, config.validate_).to_dict()


def validate(workspace: Workspace, config: Config) -> dict[str, Any]:
    """Hold the prepared splits against the contract; write and return the outcome, whatever it is."""
    from fair_distill.data.schema import read_split
    from fair_distill.validation.contract import validate as check

    outcome = check({name: read_split(workspace.split(name)) for name in SPLITS}, config.validate_).to_dict()
    write_bytes(workspace.validation, to_json(outcome))
    return outcome


def validated(workspace: Workspace) -> None:
    """Refuse what `validate` refused."""
    path = needed(workspace.validation, made_by="fair-distill validate")
    outcome = parse_json(path.read_bytes(), name=str(path))
    try:
        errors = [failure["sentence"] for failure in outcome["failures"] if failure["severity"] == "error"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is no outcome of a validation ({error!r}); run `fair-distill validate`") from None
    if errors:
        more = f" (and {len(errors) - 1} more in {path})" if len(errors) > 1 else ""
        raise DataError(f"validation refused the data: {errors[0]}{more}")


def of_known_groups(workspace: Workspace, config: Config, device: "torch.device") -> "Resolved":
    """Read the train split and see to examples of unknown group, as params say; alike for every stage that asks."""
    from fair_distill.data.schema import read_split
    from fair_distill.distillation.unknown import with_known_groups

    return with_known_groups(
        read_split(workspace.split("train")),
        config.distill.unknown,
        config.distill.network,
        generator=torch_generator(config, "distill.unknown"),
        device=device,
    )
