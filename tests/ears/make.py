"""Make the ears for the tests: `python -m tests.ears.make` in the project's folder. See README.md."""

import argparse
from pathlib import Path

import torch

from tests.ears.export import export
from tests.ears.network import Network
from tests.ears.train import train

HERE = Path(__file__).parent
STEPS = 5_000


def main() -> None:
    """Train and write, now and then also what there is so far."""
    wanted = _arguments()
    torch.set_num_threads(1)  # also so that sums are added in the same order everywhere

    def keep(network: Network, step: int) -> None:
        last = step == wanted.steps
        folder = wanted.output if last else wanted.output.with_name(f"{wanted.output.name}-{step}")
        export(network, folder)
        print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.2f} MB", flush=True)

    train(wanted.steps, wanted.seed, keep, wanted.keep_every or wanted.steps)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-every", type=int, default=0, help="steps; writes OUTPUT-STEP beside OUTPUT")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "tiny")
    return parser.parse_args()


if __name__ == "__main__":
    main()
