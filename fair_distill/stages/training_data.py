"""The training split as distillation uses it: with a group for every example."""

from typing import TYPE_CHECKING

from fair_distill.config import Config
from fair_distill.seeds import torch_generator
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from fair_distill.distillation.unknown_groups import ResolvedGroups


def read_training_data(workspace: Workspace, config: Config, device: "torch.device") -> "ResolvedGroups":
    """Read the training split and handle examples of unknown group as distill.unknown in params.yaml says.

    Every stage gets the same groups, because the generator depends on the seed in params.yaml alone.
    """
    from fair_distill.data.split_file import read_split
    from fair_distill.distillation.unknown_groups import resolve_unknown_groups

    return resolve_unknown_groups(
        read_split(workspace.split("train")),
        config.distill.unknown,
        config.distill.network,
        generator=torch_generator(config.seed, "distill.unknown"),
        device=device,
    )
