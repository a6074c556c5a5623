import pytest

from apps.asr_worker.models.folder import MARK, Look, Mark, State, look, missing
from apps.asr_worker.models.mark import write_mark


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("model.bin", "model.bin"),
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("vocabulary.json", "vocabulary.json or vocabulary.txt"),
    ],
)
def test_a_missing_file_is_named(put, file, told):
    """Of a folder that was put there by hand."""
    folder = put("mine", without=(file,))
    assert missing(folder) == (told,)
    assert look(folder) == Look(State.INCOMPLETE, (told,))


def test_the_older_kind_of_vocabulary_will_do(put):
    """Models of 2023 have a text file."""
    folder = put("mine")
    (folder / "vocabulary.json").rename(folder / "vocabulary.txt")
    assert look(folder) == Look(State.INSTALLED)


def test_by_hand(put):
    """Without a mark it is taken as it is; the bands of a small model need no file."""
    assert look(put("mine", without=("preprocessor_config.json",))) == Look(State.INSTALLED)


@pytest.mark.parametrize("there", [True, False])
def test_nothing(tmp_path, there):
    """An empty folder and none are the same."""
    if there:
        (tmp_path / "x").mkdir()
    assert look(tmp_path / "x").state is State.ABSENT


def test_a_download_that_was_stopped(put):
    """Is told by its mark, even when every file is there: it was never tried."""
    folder = put("small.en")
    write_mark(folder, Mark("some/one", "http://hub/some/one", {}, finished=False))
    assert look(folder) == Look(State.UNFINISHED)


@pytest.mark.parametrize("content", [b"", b"{", b'{"files": 5}', b"\x00" * 50])
def test_a_mark_that_is_spoilt(put, content):
    """Is that of a download which was not finished; nothing is taken for whole by it."""
    folder = put("small.en")
    (folder / MARK).write_bytes(content)
    assert look(folder) == Look(State.UNFINISHED)
