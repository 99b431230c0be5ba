"""Two small towers trained from nothing on built-in scenes with captions, and how well they do without a label.

    python benchmarks/scene_towers.py runs/scene_towers

A caption names some of what a scene holds, as captions do, in any order: "a photo of a three and a seven." Each digit
of a scene is named with probability 0.4, and one at least. The scenes are not those of the grids: they have a seed of
their own. Both towers learn to find each scene's caption among those of the batch, and each caption's scene (Radford
et al., ICML 2021). Then the scenes of benchmarks/scene_towers.toml for testing are ranked by the names of the classes
alone, and the mean average precision is printed.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import partlabel
from partlabel.datasets.digit_scenes import Scenes, write_scenes
from partlabel.models.encoders.small_towers import write_towers

SIZE, BATCH, EPOCHS, LR, SCENES, SEED, NAMED = 64, 128, 12, 2e-3, 4000, 1000, 0.4
"""Of the training; SEED is that of the scenes, apart from those of the grids; NAMED is how probable a name is."""


def main(out: Path) -> None:
    """Train, write, print."""
    name = write_towers(out, size=SIZE, width=64, layers=2, features=64, network="test_resnet")
    with tempfile.TemporaryDirectory() as scratch:
        scenes = write_scenes(Path(scratch) / "learn", train=SCENES, test=1, size=SIZE, seed=SEED)
        model = open_clip.create_model(name)
        train(model, open_clip.get_tokenizer(name), scenes)
        weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
        save_file(weights, out / "open_clip_model.safetensors")
        tried = write_scenes(Path(scratch) / "try", train=200, test=1000, size=SIZE)
        run = partlabel.train(
            tried.train, images=tried.images, out=Path(scratch) / "run", method="zero_shot", backbone=name, freeze=True
        )
        found = partlabel.evaluate(run.path, tried.test, images=tried.images, report=False)
    value = found.mean_average_precision["raw"]
    print(f"{100 * value:.1f} mAP (raw, {len(tried.test.classes)} classes, all cells known) without a label")


def train(model: nn.Module, tokenizer: open_clip.SimpleTokenizer, scenes: Scenes) -> None:
    """Contrast images with captions."""
    torch.manual_seed(0)
    pixels = torch.stack([_pixels(scenes.images / image) for image in scenes.train.images])
    present = scenes.train.rows(np.arange(len(scenes.train))) > 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
    steps = EPOCHS * (len(pixels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    draws = np.random.default_rng(0)
    loss = torch.zeros(())
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(pixels)).split(BATCH)[: len(pixels) // BATCH]:
            captions = [_caption(present[row], scenes.train.classes, draws) for row in rows.tolist()]
            images, texts = model.encode_image(pixels[rows]), model.encode_text(tokenizer(captions))
            loss = _contrast(images, texts, model.logit_scale.exp())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=np.log(100))
        print(f"epoch {epoch + 1} of {EPOCHS}, loss {loss.item():.3f}", file=sys.stderr)


def _contrast(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    logits = scale * functional.normalize(images, dim=1) @ functional.normalize(texts, dim=1).T
    own = torch.arange(len(logits))
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def _caption(present: np.ndarray, classes: tuple[str, ...], draws: np.random.Generator) -> str:
    there = draws.permutation(np.flatnonzero(present))
    named = [column for column in there if draws.random() < NAMED] or list(there[:1])
    return f"a photo of {' and '.join(f'a {classes[column]}' for column in named) or 'nothing'}."


def _pixels(path: Path) -> Tensor:
    with Image.open(path) as image:
        values = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy((values - 0.5) / 0.5).permute(2, 0, 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
