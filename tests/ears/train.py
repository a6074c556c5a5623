"""The training loop.

Whisper finds out by itself which sound goes with which word, from very much speech. Here it is known to the
sample, so it is taught: each position of the encoder says which word is being said there, and two of the
decoder's heads listen where the next word is. Without that nothing is learnt in the first hour.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tests.ears import tokens
from tests.ears.batches import NO_TARGET, Batch, batches
from tests.ears.network import GUIDED_HEADS, Network
from tests.ears.sentences import VOCABULARY
from tests.ears.teach import lessons

RATE = 2.5e-3
WARM_UP = 150  # steps
COOL_DOWN = 0.5  # of all steps, until the rate is zero
WHOLE = 0.06  # of batches are padded to 30 s
AVERAGED = 0.998  # the export is the mean over some 500 steps
REPORT_EVERY = 50  # steps


def train(steps: int, seed: int, keep: Callable[[Network, int], None], keep_every: int) -> None:
    """Train; hand the network as it then is to `keep` every so many steps and at the end."""
    torch.manual_seed(seed)
    network = Network(tokens.size(), len(VOCABULARY))
    average = deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    began = time.monotonic()
    told = torch.zeros(3)
    for step, batch in zip(range(1, steps + 1), batches(lessons(seed), seed, WHOLE), strict=False):
        losses = _losses(network, batch)
        optimizer.zero_grad()
        (losses[0] + 0.5 * losses[1] + 0.3 * losses[2]).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        _average(average, network, min(AVERAGED, step / (step + 10)))
        told += torch.stack(losses).detach()
        if step % REPORT_EVERY == 0:
            text, words, heads = (told / REPORT_EVERY).tolist()
            took_s = time.monotonic() - began
            print(
                f"step {step}: text {text:.3f} words {words:.3f} heads {heads:.3f}, {took_s:.0f} s",
                flush=True,
            )
            told.zero_()
        if step % keep_every == 0 or step == steps:
            keep(average, step)


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP, max(0.01, (steps - step) / (steps * COOL_DOWN)))


def _average(average: Network, network: Network, share: float) -> None:
    with torch.no_grad():
        for kept, now in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(now, 1 - share)


def _losses(network: Network, batch: Batch) -> tuple[Any, Any, Any]:
    """Return how wrong the text, the words at each position and the guided heads are."""
    heard = network.encode(batch.mels)
    scores, listening = network.decode(batch.ids, heard)
    wrong = cross_entropy(
        scores.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET, reduction="none"
    )
    counts = batch.weights.flatten()
    text = (wrong * counts).sum() / counts.sum()
    words = cross_entropy(network.word_at(heard).flatten(0, 1), batch.words.flatten(), ignore_index=NO_TARGET)
    inside = (listening[:, :GUIDED_HEADS] * batch.spans[:, None]).sum(-1)
    guided = batch.spans.amax(-1)[:, None].expand_as(inside)
    heads = -(torch.log(inside + 1e-3) * guided).sum() / guided.sum().clamp(min=1)
    return text, words, heads
