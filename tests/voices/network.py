"""Piper's own network (VITS) in one of our sizes."""

import torch
from piper.train.vits.models import SynthesizerTrn

from tests.voices.sizes import SYMBOLS, Size


def build(size: Size, seed: int) -> SynthesizerTrn:
    """Return the network with random weights, the same ones for the same seed."""
    torch.manual_seed(seed)
    return SynthesizerTrn(
        n_vocab=SYMBOLS,
        spec_channels=513,  # these two belong to parts that neither our training nor a voice uses
        segment_size=1,
        inter_channels=size.hidden,
        hidden_channels=size.hidden,
        filter_channels=4 * size.hidden,
        n_heads=2,
        n_layers=size.layers,
        kernel_size=3,
        p_dropout=0.1,
        resblock="2",
        resblock_kernel_sizes=(3, 5, 7),
        resblock_dilation_sizes=((1, 2), (2, 6), (3, 12)),
        upsample_rates=size.upsample_rates,
        upsample_initial_channel=size.upsample_initial,
        upsample_kernel_sizes=tuple(2 * rate for rate in size.upsample_rates),
        n_speakers=max(1, len(size.speakers)),
        gin_channels=size.speaker_channels,
    )
