import json
import shutil

import pytest

from apps.asr_worker.models.trial import try_out
from apps.shared.errors import EngineError
from tests.asr_worker.models.conftest import TINY


@pytest.fixture
def copy(tmp_path):
    """The test model, to be broken."""
    return shutil.copytree(TINY, tmp_path / "model")


def test_a_model_that_works(copy):
    """Loads and decodes."""
    try_out(copy, "int8")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.bin", b""),
        ("model.bin", b"<html>Sign in</html>"),
        ("config.json", b"<html>"),
        ("tokenizer.json", b"<html>"),
        ("tokenizer.json", b"{}"),
        ("vocabulary.json", b"<html>"),
        ("preprocessor_config.json", b"[]"),
        ("preprocessor_config.json", json.dumps({"feature_size": 128}).encode()),
    ],
    ids=str,
)
def test_a_broken_file(copy, file, content):
    """One line says what the libraries say, whatever they raise; another number of bands is noticed too."""
    (copy / file).write_bytes(content)
    with pytest.raises(EngineError) as raised:
        try_out(copy, "int8")
    assert raised.value.code == "asr_model_broken"
    assert str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_that_ends_early(copy):
    """Half of a download does not pass."""
    model = copy / "model.bin"
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    with pytest.raises(EngineError):
        try_out(copy, "int8")
