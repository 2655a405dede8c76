"""The workspace: the folder in which the stages run, and the path of each file that they read or write."""

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "tune", "gate")


@dataclass(frozen=True)
class Workspace:
    """The folder that contains params.yaml and dvc.yaml, with the paths of everything that the stages write.

    The methods take the name of a set: a candidate or a reference of params.yaml.
    """

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def artifacts(self) -> Path:
        """Return the folder of all outputs of the DVC stages."""
        return self.root / "artifacts"

    def split(self, name: str) -> Path:
        """Return the prepared examples of one of SPLITS."""
        return self.artifacts / "prepared" / f"{name}.arrow"

    @property
    def assignments(self) -> Path:
        """Return the split of every unit that was dealt, which `prepare` reads and extends."""
        return self.artifacts / "assignments.arrow"

    @property
    def validation(self) -> Path:
        """Return the result of the data contract."""
        return self.artifacts / "validation.json"

    def label_audit(self, split: str) -> Path:
        """Return the table of suspected label errors in a split. It is not an output of the DVC graph."""
        return self.artifacts / "labels" / f"{split}.json"

    def suspected_labels(self, split: str) -> Path:
        """Return the examples of a split whose labels are suspected to be wrong."""
        return self.artifacts / "labels" / f"{split}.csv"

    def set(self, name: str) -> Path:
        """Return the folder of a set, which contains set.parquet and manifest.json."""
        return self.artifacts / "sets" / name

    def experts(self, name: str) -> Path:
        """Return the folder of the expert trajectories of a candidate; only some matchers need them."""
        return self.artifacts / "experts" / name

    def losses(self, name: str) -> Path:
        """Return the loss of each distillation step."""
        return self.artifacts / "losses" / f"{name}.csv"

    def predictions(self, name: str) -> Path:
        """Return the predictions of all networks that were trained on a set."""
        return self.artifacts / "predictions" / f"{name}.parquet"

    def tuned(self, name: str) -> Path:
        """Return the predictions of the tune split by networks that were trained on a set."""
        return self.artifacts / "tuned" / f"{name}.parquet"

    def tuned_metrics(self, name: str) -> Path:
        """Return the metrics of a set on the tune split, by network."""
        return self.artifacts / "tuned" / f"{name}.json"

    def evaluation(self, name: str) -> Path:
        """Return the metrics of a set, by network."""
        return self.artifacts / "evaluation" / f"{name}.json"

    def rates(self, name: str) -> Path:
        """Return the recall of each class in each group."""
        return self.artifacts / "rates" / f"{name}.csv"

    @property
    def projection(self) -> Path:
        """Return the embedded images in two dimensions, for the report."""
        return self.artifacts / "projection.csv"

    def report(self, name: str) -> Path:
        """Return the HTML report. It is not an output of the DVC graph, because it also shows data of the registry."""
        return self.artifacts / "reports" / f"{name}.html"

    @property
    def checkpoints(self) -> Path:
        """Return the default folder of checkpoints, from which interrupted runs continue. DVC does not track it."""
        return self.root / ".checkpoints"

    @property
    def costs(self) -> Path:
        """Return the default folder of the record of costs; see `stages.costs`. DVC does not track it."""
        return self.root / ".costs"

    @property
    def context(self) -> Path:
        """Return the input of a verdict that comes from the registry. No stage writes it; a missing file is empty."""
        return self.root / "context.json"

    @property
    def blocklist(self) -> Path:
        """Return the keyed hashes of erased people, whom `prepare` leaves out. It is in git; no stage writes it."""
        return self.root / "blocklist.json"

    def attestation(self, name: str) -> Path:
        """Return an evaluator's signed statement about the predictions of a set. It is in git; no stage writes it."""
        return self.root / "attestations" / f"{name}.json"

    def verdict(self, name: str) -> Path:
        return self.artifacts / "verdicts" / f"{name}.json"

    def grid(self, name: str) -> Path:
        """Return the picture of a set's images."""
        return self.artifacts / "pictures" / f"{name}.png"
