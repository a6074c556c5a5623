import hashlib
import subprocess

import pytest

from apps.asr_worker.models.folder import MARK, FileMark, Look, Mark, State, look, read_mark
from apps.asr_worker.models.mark import git_checksum, read_through, whole, write_mark, wrong


@pytest.fixture
def model(put):
    """A model with the mark that its download would leave."""
    folder = put("small.en")
    files = {
        path.name: FileMark(path.stat().st_size, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
        for path in folder.iterdir()
    }
    write_mark(folder, Mark("some/one", "http://hub/some/one", files, finished=True))
    return folder


def test_damage(model):
    """A cut file is seen by a look, a changed byte by reading, a deleted file by both."""
    file = model / "model.bin"
    content = file.read_bytes()
    assert look(model) == read_through(model) == Look(State.INSTALLED)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert look(model) == Look(State.INSTALLED)
    assert read_through(model) == Look(State.DAMAGED, ("model.bin",))
    file.write_bytes(content[:-1])
    assert look(model) == read_through(model) == Look(State.DAMAGED, ("model.bin",))
    file.unlink()
    assert look(model) == read_through(model) == Look(State.DAMAGED, ("model.bin",))


def test_what_was_never_marked_is_taken_as_it_is(put):
    """Nothing is known to hold it against."""
    assert read_through(put("mine")) == Look(State.INSTALLED)
    assert read_through(put("other", without=("model.bin",))) == Look(State.INCOMPLETE, ("model.bin",))


def test_what_is_wrong(model):
    """Every file that is not as described, and no other."""
    mark = read_mark(model)
    assert mark is not None
    (model / "config.json").write_text("{}")
    (model / "tokenizer.json").unlink()
    assert set(wrong(model, mark)) == {"config.json", "tokenizer.json"}


def test_the_mark_comes_back_as_it_was_written(tmp_path):
    """And there is none where none was written."""
    assert read_mark(tmp_path) is None
    mark = Mark("a/b", "http://hub/a/b", {"model.bin": FileMark(None, "")}, finished=False)
    write_mark(tmp_path, mark)
    assert read_mark(tmp_path) == mark
    assert [path.name for path in tmp_path.iterdir()] == [MARK]


def test_gits_name_of_a_content(tmp_path):
    """Is the one that git itself gives."""
    file = tmp_path / "config.json"
    file.write_bytes(b'{"a": 1}\r\n\x00')
    done = subprocess.run(
        ["git", "hash-object", "--no-filters", str(file)], capture_output=True, text=True, check=True
    )
    assert git_checksum(file) == f"git:{done.stdout.strip()}"


@pytest.mark.parametrize("kind", ["sha256", "git"])
def test_whole(tmp_path, kind):
    """By size and checksum, as far as they are known."""
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    known = {"sha256": f"sha256:{hashlib.sha256(b'abc').hexdigest()}", "git": git_checksum(file)}[kind]
    assert whole(file, 3, known)
    assert whole(file, None, known)
    assert whole(file, 3, "")
    assert not whole(file, 4, known)
    assert not whole(file, 3, known[:-1] + ("0" if known[-1] != "0" else "1"))
    assert not whole(tmp_path / "other", 3, known)
    assert not whole(tmp_path / "other", None, "")
