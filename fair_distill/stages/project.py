"""The stage that lays sets and groups into a plane, for the report: a picture, and nothing rests on it."""

from dataclasses import astuple

from fair_distill.config import Config
from fair_distill.distilled_set import DistilledSet
from fair_distill.files import require_file, to_csv, write_bytes
from fair_distill.registry.manifest import SET_FILE, read_version
from fair_distill.seeds import torch_generator
from fair_distill.stages.device import torch_device
from fair_distill.stages.set_record import made_by
from fair_distill.workspace import Workspace


def project(workspace: Workspace, config: Config) -> int:
    """Write artifacts/projection.csv, all sets that have images of their own, in their classes' planes; count its rows.

    Seen through the first of the untrained networks that residuals are measured under.
    """
    from fair_distill.audit.projection import COLUMNS
    from fair_distill.audit.projection import project as run
    from fair_distill.data.split_file import read_split
    from fair_distill.distillation.networks import build
    from fair_distill.distillation.sampling import normalisation

    torch_device("cpu", threads=config.threads)
    train = read_split(require_file(workspace.split("train"), made_by="fair-distill prepare"))
    if not train.known.all():
        train = train.of_known_groups()
    sets = {}
    for name in config.sets:
        manifest, files = read_version(workspace.set(name), made_by=made_by(config, name))
        if SET_FILE in files:
            one = DistilledSet.from_parquet(files[SET_FILE], name=str(workspace.set(name) / SET_FILE))
            sets[name] = (one.images, one.labels, manifest.card.recipe.formation)
    named = config.distill.network
    points = run(
        train,
        sets,
        normalise=normalisation(train),
        network=build(
            named.name,
            named.options,
            train.shape,
            len(train.classes),
            torch_generator(config.seed, "diagnostics"),
            custom=True,
        ),
        rows_per_cell=config.diagnostics.rows_per_cell,
    )
    rows = [astuple(point) for point in points]
    write_bytes(workspace.projection, to_csv(list(COLUMNS), rows))
    return len(rows)
