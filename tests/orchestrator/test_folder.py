"""One show per data folder."""

import subprocess
import sys

import pytest

from apps.orchestrator.folder import SHOW, SUPERVISOR, only_one
from apps.shared.errors import AivtError, MissingError
from apps.shared.settings import PROJECT_DIR, Settings

HOLDING = """
import sys, time
from pathlib import Path
from apps.orchestrator.folder import SHOW, only_one
from apps.shared.settings import Settings

with only_one(Settings(_env_file=None, aivt_data_dir=Path(sys.argv[1])), SHOW):
    print("holding", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, aivt_data_dir=tmp_path / "data")


def test_a_second_show_is_refused_and_the_first_goes_on(settings):
    """The error names the folder and the two ways out; afterwards the folder is free again."""
    with only_one(settings, SHOW):
        refused = pytest.raises(AivtError, match="another show is running on the data folder")
        with refused as caught, only_one(settings, SHOW):
            pass
        assert "AIVT_DATA_DIR" in caught.value.fix
        with only_one(settings, SUPERVISOR):
            pass
    with only_one(settings, SHOW):
        pass


def test_a_killed_show_does_not_hold_the_folder(settings):
    """However its holder ended, the next show starts."""
    command = [sys.executable, "-c", HOLDING, str(settings.aivt_data_dir)]
    with subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "holding\n"
        with pytest.raises(AivtError, match="another show"), only_one(settings, SHOW):
            pass
        holder.kill()
        holder.wait()
    with only_one(settings, SHOW):
        pass


@pytest.mark.parametrize("in_the_way", ["data", "data/show.lock/child"])
def test_a_folder_that_cannot_be_used_is_named(tmp_path, settings, in_the_way):
    """A file in place of the folder, or a folder in place of the lock: exit code 3, with the fix."""
    obstacle = tmp_path / in_the_way
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("")
    with pytest.raises(MissingError, match="cannot be used"), only_one(settings, SHOW):
        pass
