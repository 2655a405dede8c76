"""Load the version that a channel names, train a network by the recipe in its card, and test it on your images.

python examples/consume.py digits@production artifacts/prepared/gate.arrow
"""

import sys
from pathlib import Path

import torch

import fair_distill
from fair_distill.data.split_file import read_split

reference, path = sys.argv[1:]

distilled = fair_distill.load(reference)
print(f"{reference}: {len(distilled)} images of {distilled.card.shape}, every byte verified")

torch.set_num_threads(2)
model = fair_distill.train(distilled, seed=1)

images = read_split(Path(path))
with torch.no_grad():
    predictions = model(torch.from_numpy(images.images.copy()).float() / 255).argmax(dim=1).numpy()
correct = predictions == images.labels
print(f"accuracy of a network trained on them: {100 * correct.mean():.1f} % of {len(images):,} images")
for index, group in enumerate(images.groups):
    print(f"  {group}: {100 * correct[images.group_indices == index].mean():.1f} %")
