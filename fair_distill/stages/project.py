"""Stage `project`: project all sets and the groups of their classes onto planes, for the report."""

from dataclasses import astuple

from fair_distill.config import Config
from fair_distill.distilled_set import DistilledSet
from fair_distill.files import require_file, to_csv, write_bytes
from fair_distill.registry.manifest import SET_FILE, read_version
from fair_distill.seeds import torch_generator
from fair_distill.stages.device import torch_device
from fair_distill.stages.set_record import set_command
from fair_distill.workspace import Workspace


def project_sets(workspace: Workspace, config: Config) -> int:
    """Write artifacts/projection.csv, the points of every set that has files, and return the number of its rows.

    The embedding is the first of the untrained networks that residuals are measured with. No verdict uses the result.
    """
    from fair_distill.audit.projection import COLUMNS, project
    from fair_distill.data.split_file import read_split
    from fair_distill.distillation.networks import build
    from fair_distill.distillation.sampling import normalisation

    torch_device("cpu", threads=config.threads)
    train = read_split(require_file(workspace.split("train"), made_by="fair-distill stage prepare"))
    sets = {}
    for name in config.sets:
        manifest, files = read_version(workspace.set(name), made_by=set_command(config, name))
        if SET_FILE in files:
            distilled = DistilledSet.from_parquet(files[SET_FILE], name=str(workspace.set(name) / SET_FILE))
            sets[name] = (distilled.images, distilled.labels, manifest.card.recipe.formation)

    if not train.known.all():
        train = train.of_known_groups()
    architecture = config.distill.network
    network = build(
        architecture.name,
        architecture.options,
        train.shape,
        len(train.classes),
        torch_generator(config.seed, "diagnostics"),
        custom=True,
    )
    points = project(
        train,
        sets,
        normalise=normalisation(train),
        network=network,
        rows_per_cell=config.diagnostics.rows_per_cell,
    )
    rows = [astuple(point) for point in points]

    write_bytes(workspace.projection, to_csv(list(COLUMNS), rows))
    return len(rows)
