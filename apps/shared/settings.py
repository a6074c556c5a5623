"""Every setting, in one tree. Nothing else in the project reads the environment.

A value comes from the environment, else from `.env` in the project's folder, else from the default here.
`.env.example` lists them all for streamers; a test keeps the two in step.
"""

import difflib
import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from apps.shared.errors import SettingsError

PROJECT_DIR = Path(__file__).resolve().parents[2]

_NAME_AND_PASSWORD = re.compile(r"(?<=://)\S*@")  # in an address


def _ollama_url(value: str) -> str:
    """Take what Ollama's own OLLAMA_HOST takes (`host`, `host:port`, a URL) and return a URL.

    0.0.0.0 tells the server to listen everywhere; a client reaches it on loopback.
    """
    parts = urlsplit(value if "://" in value else f"http://{value}")
    host = parts.hostname or "127.0.0.1"
    if host in {"0.0.0.0", "::"}:  # noqa: S104
        host = "127.0.0.1"
    try:
        if ipaddress.ip_address(host).version == 6:
            host = f"[{host}]"
    except ValueError:
        pass  # a name, not an address
    port = parts.port or {"http": 11434, "https": 443}.get(parts.scheme, 0)
    if not port:
        raise ValueError(f"{parts.scheme}:// is not a web address")
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def _base_url(value: str) -> str:
    """Take a web address to which paths are appended."""
    value = value.strip().rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("give a web address that begins with http:// or https://")
    if parts.port == 0:  # reading it is what checks it
        raise ValueError("there is no port 0")
    return value.replace("//0.0.0.0", "//127.0.0.1", 1)  # servers print where they listen: everywhere


def _inside_project(path: Path) -> Path:
    return path if path.is_absolute() else PROJECT_DIR / path.expanduser()


def _known_output(value: str) -> str:
    if value.startswith("dir:") and not value.removeprefix("dir:"):
        raise ValueError("dir: needs a folder, as in dir:out")
    return value


class Settings(BaseSettings):
    """The tree. Field names are the environment's names in lower case."""

    model_config = SettingsConfigDict(
        env_file=PROJECT_DIR / ".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    aivt_port: int = Field(default=8710, ge=0, le=65535)  # 0: any free port, written to AIVT_DATA_DIR/port
    aivt_data_dir: Annotated[Path, AfterValidator(_inside_project)] = Path("data")
    aivt_persona: str = "kitsu"
    aivt_log_level: Literal["debug", "info", "warning", "error"] = "info"

    use_stub_asr: bool = False
    use_stub_policy: bool = False
    use_stub_tts: bool = False

    streamer_name: str = "streamer"
    asr_engine: str = "auto"
    asr_model: str = ""  # a name ("small.en") or a local folder; "": chosen by the graphics card
    asr_models_url: Annotated[str, AfterValidator(_base_url)] = "https://huggingface.co"
    asr_device: Literal["auto", "cpu", "cuda"] = "auto"
    asr_compute_type: str = "auto"  # what CTranslate2 takes: int8, int8_float16, float16, float32
    asr_language: str = "en"  # "auto": found out, by models that know several
    asr_input: str = ""  # part of a device's name, "none", or a WAV file; "": the system's default device
    asr_vad: Literal["auto", "webrtc", "silero"] = "auto"
    asr_mode: Literal["open", "push"] = "open"  # push: only while the talk key is held
    asr_barge_in: Literal["always", "streamer_only_when_addressed", "never"] = "always"
    asr_answer: Literal["always", "addressed"] = "always"  # which of the streamer's words she answers
    asr_head_start: bool = True
    asr_pause_s: float = Field(default=0.55, ge=0.2, le=3)  # after a sentence that may be over or not
    asr_noise_gate_db: float = Field(default=0.0, ge=-90, le=0)  # 0: none
    asr_auto_gain: bool = False
    asr_hotwords: str = ""  # names and jargon, separated by commas
    echo_mode: Literal["headphones", "speakers"] = "headphones"

    policy_engine: str = "auto"
    policy_model: str = ""  # "": chosen by the memory of the graphics card
    ollama_host: Annotated[str, AfterValidator(_ollama_url)] = "http://127.0.0.1:11434"
    policy_gguf: str = ""  # a file, or the name of one in AIVT_DATA_DIR/models; "": llama.cpp is not used
    openai_base_url: Annotated[str, AfterValidator(_base_url)] = "http://127.0.0.1:8080/v1"
    openai_api_key: SecretStr = SecretStr("")
    policy_first_token_s: float = Field(default=8.0, gt=0, le=120)
    policy_stall_s: float = Field(default=5.0, gt=0, le=120)

    tts_engine: str = "auto"
    espeak_voice: str = "en-us+f3"
    piper_voice: str = ""  # a file, or the name of a voice in AIVT_DATA_DIR/voices
    voices_url: Annotated[str, AfterValidator(_base_url)] = (
        "https://huggingface.co/rhasspy/piper-voices/resolve/main"
    )
    tts_device: Literal["cpu", "cuda"] = "cpu"  # where Piper runs
    tts_output: Annotated[str, AfterValidator(_known_output)] = ""  # "": the system's default device
    tts_monitor: str = ""  # a second device that plays the same; "": none
    tts_volume: float = Field(default=1.0, ge=0, le=2)
    tts_cut: Literal["clause", "sentence"] = "clause"
    tts_cache_mb: int = Field(default=64, ge=0, le=10_000)

    @property
    def voices_dir(self) -> Path:
        """Where Piper's voices lie."""
        return self.aivt_data_dir / "voices"

    @property
    def models_dir(self) -> Path:
        """Where GGUF models lie."""
        return self.aivt_data_dir / "models"

    @property
    def hearing_dir(self) -> Path:
        """Where speech recognition models lie, a folder each."""
        return self.aivt_data_dir / "hearing"

    @property
    def logs_dir(self) -> Path:
        """Where every process writes its log."""
        return self.aivt_data_dir / "logs"

    @classmethod
    def load(cls) -> Self:
        """Read and check all settings. Raises SettingsError that names the setting and its value."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]).upper() if first["loc"] else "a setting"
            reason = first["msg"].removeprefix("Value error, ")
            shown = _NAME_AND_PASSWORD.sub("…@", repr(first["input"]))
            raise SettingsError(
                "bad_setting",
                f"{name}={shown} cannot be used: {reason}",
                fix=f"Correct {name} in the environment or in .env (see .env.example).",
            ) from error
        except UnicodeDecodeError as error:
            raise SettingsError("bad_env_file", ".env is not UTF-8 text", fix="Save it as UTF-8.") from error
        except OSError as error:
            fix = "Make it a file that you may read, or move it away."
            raise SettingsError("bad_env_file", f".env cannot be read: {error}", fix=fix) from error


def misspelled(env_file: Path = PROJECT_DIR / ".env") -> dict[str, str]:
    """Names in `.env` that are no setting, with the setting they most resemble."""
    if not env_file.is_file():
        return {}
    known = [name.upper() for name in Settings.model_fields]
    close = {
        name: difflib.get_close_matches(name, known, n=1)
        for name in dotenv_values(env_file)
        if name not in known
    }
    return {name: matches[0] for name, matches in close.items() if matches}
