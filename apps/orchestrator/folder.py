"""One show per data folder. The system lets go of a lock however its holder ends."""

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from apps.shared.access import unusable_folder
from apps.shared.errors import AivtError
from apps.shared.settings import Settings

SHOW = "show.lock"  # held by the orchestrator
SUPERVISOR = "up.lock"  # held by `aivt up`, whose workers would else join the other show


@contextlib.contextmanager
def only_one(settings: Settings, name: str) -> Iterator[None]:
    """Hold a lock of the data folder. Raises AivtError when another show has it."""
    lock = FileLock(settings.aivt_data_dir / name, timeout=0)
    try:
        settings.aivt_data_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise AivtError(
            "folder_in_use",
            f"another show is running on the data folder {settings.aivt_data_dir}",
            fix="Stop the other show, or set AIVT_DATA_DIR to another folder.",
        ) from error
    except OSError as error:
        raise unusable_folder(settings, error) from error
    try:
        yield
    finally:
        lock.release()
