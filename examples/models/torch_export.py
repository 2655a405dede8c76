"""Train a small PyTorch network on digits with three seeds, and write its predictions for `fair-distill gate model`.

    python examples/models/torch_export.py predictions.parquet

Every second image of the test half is inverted. Whether an image is inverted is its group.
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.datasets import load_digits

torch.set_num_threads(1)
digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)
inverted = torch.arange(len(images)) % 2 == 1
images[inverted] = 1 - images[inverted]
labels = torch.tensor(digits.target)
train, test = torch.arange(len(images)).split([897, 900])


def trained(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images[train]), labels[train]).backward()
        optimiser.step()
    return model


tables = []
for seed in range(3):
    model = trained(seed)
    # The export: one row for each example and seed.
    with torch.no_grad():
        probabilities, predicted = model(images[test]).softmax(dim=1).max(dim=1)
    groups = np.where(inverted[test].numpy(), "inverted", "plain")
    columns = {"example": test.numpy(), "label": labels[test].numpy(), "predicted": predicted.numpy(), "group": groups}
    columns |= {"probability": probabilities.numpy(), "seed": np.full(len(test), seed)}
    tables.append(pa.table(columns))
pq.write_table(pa.concat_tables(tables), sys.argv[1])
