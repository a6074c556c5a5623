import onnx
import pytest

from apps.shared.errors import EngineError, MissingError
from apps.tts_worker.catalogue.alignment import add_alignment


def outputs(path):
    return len(onnx.load(str(path)).graph.output)


@pytest.fixture
def came(piper_voice):
    """A model as it is downloaded."""
    return piper_voice("came", aligned=False)


def test_a_voice_learns_to_tell_its_lengths(came, tmp_path):
    """The copy has the second output, and the file that came is as it was."""
    before = came.read_bytes()
    assert add_alignment(came, tmp_path / "out.onnx")
    assert (outputs(came), outputs(tmp_path / "out.onnx")) == (1, 2)
    assert came.read_bytes() == before


def test_a_voice_that_tells_them_already(piper_voice, tmp_path):
    """Stays as it is."""
    came = piper_voice("came", aligned=True)
    assert outputs(came) == 2
    assert add_alignment(came, tmp_path / "out.onnx")
    assert outputs(tmp_path / "out.onnx") == 2


def test_a_model_that_does_not_show_them(came, tmp_path):
    """Without the one node that rounds lengths up, nothing is written and nothing is wrong."""
    model = onnx.load(str(came))
    for node in model.graph.node:
        if node.op_type == "Ceil":
            node.op_type = "Floor"
    onnx.save(model, str(came))
    assert not add_alignment(came, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("content", [b"<html>Not Found</html>", b"\x00" * 100])
def test_what_is_no_model(tmp_path, content):
    """Is told in one line."""
    came = tmp_path / "came.onnx"
    came.write_bytes(content)
    with pytest.raises(EngineError) as raised:
        add_alignment(came, tmp_path / "out.onnx")
    assert raised.value.code == "voice_broken"


def test_a_place_that_cannot_be_written(came, tmp_path):
    """Is told as such."""
    with pytest.raises(MissingError) as raised:
        add_alignment(came, tmp_path / "no" / "out.onnx")
    assert raised.value.code == "cannot_write"
