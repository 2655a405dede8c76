"""A consumer: load what a channel names, verified; train by the recipe that came with it; try it on other images.

python examples/consume.py digits@production artifacts/prepared/gate.arrow
"""

import sys
from pathlib import Path

import torch

import fair_distill
from fair_distill.data.split_file import read_split

reference, images = sys.argv[1:]

distilled = fair_distill.load(reference)
print(f"{reference}: {len(distilled)} images of {distilled.card.shape}, every byte verified")

torch.set_num_threads(2)
model = fair_distill.train(distilled, seed=1)

own = read_split(Path(images))
with torch.no_grad():
    predicted = model(torch.from_numpy(own.images.copy()).float() / 255).argmax(dim=1).numpy()
print(f"a network trained on them is right on {100 * (predicted == own.labels).mean():.1f} % of {len(own):,} images")
for index, group in enumerate(own.groups):
    of_group = own.group_indices == index
    print(f"  {group}: {100 * (predicted == own.labels)[of_group].mean():.1f} %")
