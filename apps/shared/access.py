"""The secret and the port that let this machine's processes find each other: two files in the data folder."""

import os
import secrets
from pathlib import Path

from apps.shared.errors import AivtError, MissingError
from apps.shared.settings import Settings

OWNER_ONLY = 0o600


def token_file(settings: Settings) -> Path:
    """Where the bus token lies."""
    return settings.aivt_data_dir / "token"


def make_token(settings: Settings) -> str:
    """Return the token, made on the first start and kept. Raises MissingError for an unusable folder."""
    try:
        settings.aivt_data_dir.mkdir(parents=True, exist_ok=True)
        path = token_file(settings)
        token = path.read_text().strip() if path.exists() else ""
        if not token:
            token = secrets.token_urlsafe(32)
            write_private(path, token + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise unusable_folder(settings, error) from error
    return token


def unusable_folder(settings: Settings, error: Exception) -> MissingError:
    """Name the data folder and what to do about it."""
    return MissingError(
        "data_dir_unusable",
        f"the data folder {settings.aivt_data_dir} cannot be used: {error}",
        fix="Make it readable and writable for you, or set AIVT_DATA_DIR to another folder.",
    )


def read_token(settings: Settings) -> str:
    """Return the running show's token. Raises MissingError when there is none (yet) or it is unreadable."""
    try:
        return token_file(settings).read_text().strip()
    except FileNotFoundError as error:
        raise no_show(settings) from error
    except (OSError, UnicodeDecodeError) as error:
        raise unusable_folder(settings, error) from error


def publish_port(settings: Settings, port: int) -> None:
    """Tell the other processes where the orchestrator listens."""
    write_private(settings.aivt_data_dir / "port", f"{port}\n")


def read_port(settings: Settings) -> int:
    """Return the orchestrator's port: the setting, or with AIVT_PORT=0 what it published."""
    if settings.aivt_port:
        return settings.aivt_port
    try:
        return int((settings.aivt_data_dir / "port").read_text())
    except (OSError, ValueError) as error:
        raise no_show(settings) from error


def no_show(settings: Settings) -> AivtError:
    """Say that there is nobody to talk to."""
    return MissingError(
        "no_show",
        f"no show is running on {settings.aivt_data_dir}",
        fix="Start it with: python scripts/aivt.py up",
        retryable=True,
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    scratch.touch(OWNER_ONLY)
    scratch.write_text(text)
    scratch.replace(path)
