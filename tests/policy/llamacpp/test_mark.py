"""A load that took everything down is found out afterwards, and not repeated."""

import os
import subprocess
import sys

import pytest

from apps.policy.llamacpp.mark import marked, note
from apps.shared.errors import EngineError, MissingError


@pytest.fixture
def model(tmp_path):
    (path := tmp_path / "fox.gguf").write_bytes(b"GGUF")
    return path


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "data" / "loading-gguf"


@pytest.fixture
def died(mark, model):
    """A process has ended, without a word, while it loaded the model."""
    script = (
        "import os, sys, pathlib; from apps.policy.llamacpp.mark import marked, note\n"
        "mark, model = map(pathlib.Path, sys.argv[1:])\n"
        "with marked(mark, note(model)): os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(mark), str(model)], check=False)
    assert ended.returncode == 9


def test_it_is_there_only_while_loading(mark, model):
    """Afterwards nothing is left."""
    with marked(mark, note(model)):
        assert mark.exists()
    assert not mark.exists()


def test_a_failure_leaves_nothing(mark, model):
    """Whoever can tell of a failure is alive."""
    with pytest.raises(KeyboardInterrupt), marked(mark, note(model)):
        raise KeyboardInterrupt
    assert not mark.exists()


@pytest.mark.usefixtures("died")
def test_a_death_is_found_out(mark, model):
    """The same file is refused, each time, with the way to try it again."""
    for _ in range(2):
        with pytest.raises(EngineError) as caught, marked(mark, note(model)):
            pass
        assert caught.value.code == "gguf_crashed"
        assert "fox.gguf" in str(caught.value)
        assert str(mark) in caught.value.fix


@pytest.mark.usefixtures("died")
def test_another_file_is_tried(mark, model, tmp_path):
    """Only the one that did it is refused."""
    (other := tmp_path / "wolf.gguf").write_bytes(b"GGUF")
    with marked(mark, note(other)):
        pass


@pytest.mark.usefixtures("died")
@pytest.mark.parametrize("how", ["size", "time"])
def test_a_changed_file_is_tried(mark, model, how):
    """A new download of the same name is another file."""
    if how == "size":
        model.write_bytes(b"GGUF and more")
    os.utime(model, ns=(0, note(model).modified_ns + (how == "time")))
    with marked(mark, note(model)):
        pass


@pytest.mark.usefixtures("died")
def test_without_the_mark_it_is_tried(mark, model):
    """Deleting it is the way to insist."""
    mark.unlink()
    with marked(mark, note(model)):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"path": 1}', b"\xff"])
def test_a_broken_mark_is_none(mark, model, content):
    """A half-written note accuses nobody."""
    mark.parent.mkdir()
    mark.write_bytes(content)
    with marked(mark, note(model)):
        pass
    assert not mark.exists()


def test_a_place_that_cannot_be_written_is_no_hindrance(model, tmp_path):
    """Loading is worth more than the mark."""
    (tmp_path / "data").write_text("a file where the folder should be")
    with marked(tmp_path / "data" / "loading-gguf", note(model)):
        pass


def test_a_file_that_is_gone_is_missing(tmp_path):
    """As when its drive was pulled out."""
    with pytest.raises(MissingError) as caught:
        note(tmp_path / "away.gguf")
    assert caught.value.code == "gguf_missing"
