"""A small training loop for Piper's network.

Piper learns when each symbol is spoken by itself, from much speech and with a discriminator. Here both are
known beforehand: the teacher tells the lengths and speaks on one note. So the path that makes the speech is
taught directly - symbols, stretched to their lengths, through the flow to the sound - and whatever serves
only Piper's own training (posterior encoder, monotonic alignment, discriminator) is left out.
"""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from piper.train.vits import commons
from torch.nn.functional import l1_loss
from torch.nn.utils.rnn import pad_sequence

from tests.voices.lessons import Lesson, lessons
from tests.voices.sizes import Size

BATCH = 12
SLICE_FRAMES = 32  # of each sentence, chosen at random
CONTEXT_FRAMES = 16  # on either side, for the flow
RATE = 2e-3
NOISE = 0.667  # as when speaking
WINDOWS = (1024, 512, 256, 128)  # samples
REPORT_EVERY = 25  # steps
SORTED_BATCHES = 50

Batch = tuple[Any, Any, Any, Any, Any]


def train(network: Any, size: Size, steps: int, seed: int) -> None:
    """Teach the sounds, and at the same time the lengths, for so many steps of BATCH sentences."""
    _without_dropout(network.train())
    torch.manual_seed(seed)
    batches = _batches(lessons(size, seed))
    used = [part for name, part in network.named_children() if name != "enc_q"]
    weights = [weight for part in used for weight in part.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE, betas=(0.8, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    began = time.monotonic()
    for step, batch in zip(range(steps), batches, strict=False):
        sound_loss, length_loss = _losses(network, size, batch)
        optimizer.zero_grad()
        (sound_loss + length_loss).backward()
        torch.nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        schedule.step()
        if step % REPORT_EVERY == 0 or step == steps - 1:
            took = time.monotonic() - began
            print(f"step {step}: sound {sound_loss:.3f} lengths {length_loss:.3f} {took:.0f} s", flush=True)


def _without_dropout(network: Any) -> None:
    """Every sentence is a new one, so that none can be learnt by heart."""
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0


def _batches(taught: Iterator[Lesson]) -> Iterator[Batch]:
    """Yield batches of sentences of like length: filled up to the longest, half of one would be nothing."""
    while True:
        window = sorted(islice(taught, SORTED_BATCHES * BATCH), key=lambda lesson: len(lesson.ids))
        for number in torch.randperm(SORTED_BATCHES).tolist():
            yield _batch(window[number * BATCH : (number + 1) * BATCH])


def _batch(chosen: list[Lesson]) -> Batch:
    ids = pad_sequence([torch.from_numpy(lesson.ids) for lesson in chosen], batch_first=True)
    frames = pad_sequence([torch.from_numpy(lesson.frames) for lesson in chosen], batch_first=True)
    sound = pad_sequence([torch.from_numpy(lesson.sound) for lesson in chosen], batch_first=True)
    counts = torch.tensor([len(lesson.ids) for lesson in chosen])
    return ids, counts, frames.unsqueeze(1).float(), sound, torch.tensor([x.speaker for x in chosen])


def _losses(network: Any, size: Size, batch: Batch) -> tuple[Any, Any]:
    ids, counts, frames, sound, speakers = batch
    hidden, mean, spread, mask = network.enc_p(ids, counts)
    speaker = network.emb_g(speakers).unsqueeze(-1)
    length_loss = torch.sum(network.dp(hidden, mask, frames, g=speaker)) / torch.sum(mask)

    totals = frames.sum((1, 2)).long()
    frame_mask = commons.sequence_mask(totals, int(totals.max())).unsqueeze(1).float()
    path = commons.generate_path(frames, mask.unsqueeze(2) * frame_mask.unsqueeze(-1)).squeeze(1)
    mean, spread = (torch.matmul(path, part.transpose(1, 2)).transpose(1, 2) for part in (mean, spread))
    prior = mean + torch.randn_like(mean) * torch.exp(spread) * NOISE

    # silence to both sides, so that the first and the last frames are taught as often as the others
    prior, inside = (_widened(part, CONTEXT_FRAMES) for part in (prior * frame_mask, frame_mask))
    begins = (torch.rand(len(totals)) * (totals - SLICE_FRAMES + 1).clamp(min=1)).long()
    width = SLICE_FRAMES + 2 * CONTEXT_FRAMES
    prior, inside = (commons.slice_segments(part, begins, width) for part in (prior, inside))
    latent = network.flow(prior, inside, g=speaker, reverse=True) * inside
    made = network.dec(latent[:, :, CONTEXT_FRAMES:-CONTEXT_FRAMES], g=speaker).squeeze(1)
    samples = size.frame_samples
    told = commons.slice_segments(sound.unsqueeze(1), begins * samples, SLICE_FRAMES * samples).squeeze(1)
    return sum(_spectral_loss(made, told, window) for window in WINDOWS) / len(WINDOWS), length_loss


def _widened(frames: Any, by: int) -> Any:
    return torch.nn.functional.pad(frames, (by, by + SLICE_FRAMES))


def _spectral_loss(made: Any, told: Any, window: int) -> Any:
    """How far the magnitudes are apart, in logarithms and in full: Yamamoto et al. 2020, Parallel WaveGAN."""
    a, b = _magnitudes(made, window), _magnitudes(told, window)
    return l1_loss(a.log(), b.log()) + torch.linalg.norm(a - b) / torch.linalg.norm(b)


def _magnitudes(sound: Any, window: int) -> Any:
    shape = torch.hann_window(window)
    spectrum = torch.stft(sound, window, window // 4, window=shape, return_complex=True)
    return torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-6)
