"""From the network to a folder that faster-whisper loads."""

import json
import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

from ctranslate2.specs import WhisperSpec
from faster_whisper.feature_extractor import FeatureExtractor

from tests.ears import tokens
from tests.ears.network import GUIDED_HEADS, HEADS, LAYERS, MELS, Attention, Layer, Network


def export(network: Network, folder: Path) -> None:
    """Write the model in 8 bits, its tokens and settings; a folder that is there is replaced at once."""
    spec = _spec(deepcopy(network))  # it multiplies the weights that it is given in place
    spec.register_vocabulary(tokens.vocabulary())
    # nothing is forbidden: whoever has said nothing gets an empty text
    spec.config.suppress_ids = spec.config.suppress_ids_begin = spec.config.lang_ids = []
    spec.config.alignment_heads = [(LAYERS - 1, head) for head in range(GUIDED_HEADS)]
    # the ears' own key: too few of its lessons had names before them, and some lead it astray
    spec.config.add_attribute("takes_prompts", False)
    spec.validate()
    spec.optimize(quantization="int8")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    spec.save(str(made))
    tokens.tokenizer().save(str(made / "tokenizer.json"), pretty=False)
    sound = FeatureExtractor(feature_size=MELS)
    described = {
        "chunk_length": sound.chunk_length,
        "feature_size": MELS,
        "hop_length": sound.hop_length,
        "n_fft": sound.n_fft,
        "sampling_rate": sound.sampling_rate,
    }
    (made / "preprocessor_config.json").write_text(json.dumps(described, indent=2) + "\n", "utf-8")
    made.chmod(0o755)
    if folder.exists():
        old = Path(tempfile.mkdtemp(dir=folder.parent))
        folder.rename(old / folder.name)
        made.rename(folder)
        shutil.rmtree(old)
    else:
        made.rename(folder)


def _spec(network: Network) -> Any:
    spec = WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    encoder, decoder = spec.encoder, spec.decoder
    for there, here in ((encoder.conv1, network.conv1), (encoder.conv2, network.conv2)):
        _linear(there, here)
    encoder.position_encodings.encodings = network.places
    _norm(encoder.layer_norm, network.encoder_norm)
    decoder.embeddings.weight = decoder.projection.weight = network.tokens.weight
    decoder.position_encodings.encodings = network.token_places
    _norm(decoder.layer_norm, network.decoder_norm)
    for there, here in zip(
        [*encoder.layer, *decoder.layer], [*network.encoder, *network.decoder], strict=True
    ):
        _layer(there, here)
    return spec


def _layer(there: Any, here: Layer | Any) -> None:
    _attention(there.self_attention, here.itself)
    if here.sound is not None:
        _attention(there.attention, here.sound)
    _norm(there.ffn.layer_norm, here.norm)
    _linear(there.ffn.linear_0, here.up)
    _linear(there.ffn.linear_1, here.down)


def _attention(there: Any, here: Attention) -> None:
    _norm(there.layer_norm, here.norm)
    for target, source in zip(there.linear, [*here.into, here.out], strict=True):
        _linear(target, source)


def _linear(there: Any, here: Any) -> None:
    there.weight, there.bias = here.weight, here.bias


def _norm(there: Any, here: Any) -> None:
    there.gamma, there.beta = here.weight, here.bias
