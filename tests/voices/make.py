"""Make a Piper voice for the tests: `python -m tests.voices.make` in the project's folder. See README.md."""

import argparse
from pathlib import Path

import torch

from tests.voices.describe import card, config
from tests.voices.export import graph, halve, save, shorten
from tests.voices.network import build
from tests.voices.sizes import SIZES, TINY
from tests.voices.train import train

HERE = Path(__file__).parent
RANDOM_LENGTH_SCALE = 1.5  # random weights make every length about one frame; this is a person's pace


def main() -> None:
    """Build, train, write."""
    wanted = _arguments()
    torch.set_num_threads(1)  # also so that sums are added in the same order everywhere
    size = SIZES[wanted.size]
    steps = size.steps if wanted.steps is None else wanted.steps
    network = build(size, wanted.seed)
    if steps:
        train(network, size, steps, wanted.seed)
    model = graph(network, size)
    if size is TINY:
        halve(model)
        shorten(model)
    length_scale = 1.0 if steps else RANDOM_LENGTH_SCALE
    save(model, config(size, length_scale), card(size, steps), wanted.output)
    print(f"{wanted.output}: {wanted.output.stat().st_size / 1e6:.2f} MB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default=TINY.quality)
    parser.add_argument("--steps", type=int, help="of training; 0: random weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "en_US-aivt-tiny.onnx")
    wanted = parser.parse_args()
    if wanted.steps and not SIZES[wanted.size].speakers:
        parser.error(f"{wanted.size} has no teacher: it is made with random weights only")
    return wanted


if __name__ == "__main__":
    main()
