"""The token and the port: two files in the data folder."""

import sys

import pytest

from apps.shared.access import make_token, publish_port, read_port, read_token, token_file, write_private
from apps.shared.errors import AivtError, MissingError
from apps.shared.settings import Settings

posix = pytest.mark.skipif(sys.platform == "win32", reason="file modes")


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, aivt_data_dir=tmp_path / "data", aivt_port=0)


def test_the_token_is_made_once_and_kept(settings):
    """Overlays that the streamer has set up go on working after a restart."""
    token = make_token(settings)
    assert len(token) >= 40
    assert make_token(settings) == token == read_token(settings)


def test_an_empty_token_is_no_token(settings):
    """A file that a crash left empty does not open the door to everybody."""
    make_token(settings)
    token_file(settings).write_text("\n")
    assert len(make_token(settings)) >= 40


@posix
def test_only_the_owner_reads_it(settings):
    """Other users of the computer cannot steer the show."""
    make_token(settings)
    publish_port(settings, 5)
    assert token_file(settings).stat().st_mode & 0o777 == 0o600


def test_a_file_is_whole_or_not_there(settings):
    """A reader never sees half of it, and nothing is left lying beside it."""
    make_token(settings)
    write_private(settings.aivt_data_dir / "port", "1\n")
    write_private(settings.aivt_data_dir / "port", "22\n")
    assert sorted(path.name for path in settings.aivt_data_dir.iterdir()) == ["port", "token"]


@pytest.mark.parametrize("in_the_way", ["data", "data/token/child"])
def test_a_data_folder_that_cannot_be_used_is_named(tmp_path, settings, in_the_way):
    """A file where the folder should be, or a folder where the file should be: the same clear error."""
    obstacle = tmp_path / in_the_way
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("")
    with pytest.raises(MissingError, match=r"the data folder .* cannot be used") as caught:
        make_token(settings)
    assert "AIVT_DATA_DIR" in caught.value.fix


def test_without_a_show_there_is_nothing_to_read(settings):
    """The error says how to start one, and that it is worth trying again."""
    for read in (read_token, read_port):
        with pytest.raises(AivtError, match="no show is running") as caught:
            read(settings)
        assert caught.value.retryable
        assert "aivt.py up" in caught.value.fix


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["a folder", "not text"])
def test_an_unreadable_token_is_not_taken_for_a_missing_show(settings, content):
    """What is wrong is the file, so that is what is said."""
    path = token_file(settings)
    if content is None:
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.write_bytes(content)
    with pytest.raises(MissingError, match="cannot be used"):
        read_token(settings)


def test_the_port_is_the_setting_or_what_was_published(settings, tmp_path):
    """With AIVT_PORT=0 the others look it up; otherwise they know it."""
    settings.aivt_data_dir.mkdir()
    publish_port(settings, 4711)
    assert read_port(settings) == 4711
    assert read_port(Settings(_env_file=None, aivt_data_dir=settings.aivt_data_dir, aivt_port=99)) == 99
    (settings.aivt_data_dir / "port").write_text("?")
    with pytest.raises(AivtError, match="no show is running"):
        read_port(settings)
