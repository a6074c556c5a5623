"""Which speech model is used: the one that ASR_MODEL names, else the best of those that are there."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from apps.asr_worker.models import computer
from apps.asr_worker.models.folder import MODEL, Look, State, look
from apps.asr_worker.models.names import ALIASES, KNOWN, MB_BYTES, Known, known, recommended
from apps.shared.errors import AivtError, MissingError, SettingsError
from apps.shared.settings import PROJECT_DIR, Settings

ANY_LANGUAGE = {"", "auto"}  # found out while listening


@dataclass(frozen=True, slots=True)
class Installed:
    """A model in AIVT_DATA_DIR/hearing."""

    name: str
    folder: Path
    size_bytes: int  # of model.bin
    known: Known | None  # None: put there by hand under a name of its own

    def knows(self, language: str) -> bool:
        """Tell whether it knows a language, as in ASR_LANGUAGE; of an unknown model it is believed."""
        english_only = self.known is not None and self.known.languages == "English"
        return language in {"en", *ANY_LANGUAGE} or not english_only


def find(settings: Settings) -> Path:
    """Return the folder of the model to use.

    With ASR_MODEL empty, and any model there, it looks at this computer, which blocks up to a second.
    Raises MissingError when it is not there, or not all of it ("asr_model_missing", "..._unfinished",
    "..._damaged", "..._incomplete"); SettingsError for an ASR_MODEL that is no model.
    """
    wanted = settings.asr_model.strip()
    if not wanted:
        return _best(settings)
    model = known(wanted)
    if model is None and _is_path(wanted):
        return _usable(PROJECT_DIR / Path(wanted).expanduser(), None, wanted)
    if model and model.languages == "English" and language(settings) not in {"en", *ANY_LANGUAGE}:
        raise SettingsError(
            "bad_setting",
            f"ASR_MODEL={wanted} knows English only, and ASR_LANGUAGE is {settings.asr_language}",
            fix=f"Set ASR_MODEL={_of_many(model)}, or leave it empty.",
        )
    name = model.name if model else wanted
    return _usable(settings.hearing_dir / name, model, wanted)


def installed(settings: Settings) -> list[Installed]:
    """Return the models in AIVT_DATA_DIR/hearing that can be used, in alphabetical order."""
    if not settings.hearing_dir.is_dir():
        return []
    return [
        Installed(path.name, path, (path / MODEL).stat().st_size, known(path.name))
        for path in sorted(settings.hearing_dir.iterdir())
        if look(path).state is State.INSTALLED
    ]


def advised(settings: Settings, card_bytes: int) -> tuple[Known, str]:
    """Return the model that suits a card with this much memory (0: the processor), and why."""
    return recommended(card_bytes, language(settings))


def language(settings: Settings) -> str:
    """Return ASR_LANGUAGE as models know it."""
    return settings.asr_language.strip().lower()


def best_of(found: list[Installed], wanted: Known, spoken: str) -> Installed | None:
    """Return the recommended one, else the largest smaller one, else the smallest larger one."""
    fitting = [each for each in found if each.knows(spoken)]
    most_bytes = wanted.size_mb * 1.02 * MB_BYTES  # the table's sizes are rounded
    smaller = [each for each in fitting if each.size_bytes <= most_bytes]
    by_name = next((each for each in fitting if each.name == wanted.name), None)
    largest = max(smaller, key=lambda each: each.size_bytes, default=None)
    return by_name or largest or min(fitting, key=lambda each: each.size_bytes, default=None)


def _best(settings: Settings) -> Path:
    found = installed(settings)
    # Without any model the process stays as small as it is: looking closely costs 60 MB.
    card_bytes = computer.look(settings).usable_bytes if found else computer.card_bytes(settings)
    wanted, _ = advised(settings, card_bytes)
    if best := best_of(found, wanted, language(settings)):
        return best.folder
    what = (
        f"no speech model that knows {settings.asr_language} is there"
        if found
        else "no speech model is there"
    )
    raise MissingError(
        "asr_model_missing",
        f"{what}, so she cannot hear",
        fix=f"Run: aivt setup ears (it gets {wanted.name}, {wanted.size_mb:g} MB, which suits this computer)",
    )


def _usable(folder: Path, model: Known | None, wanted: str) -> Path:
    """Return the folder if everything is there. Raises as `find` does."""
    seen = look(folder)
    if seen.state is State.INSTALLED:
        return folder
    get = f"Run: aivt setup ears --model {model.name}" if model else ""
    raise _fault(seen, folder, model, wanted, get)


def _fault(seen: Look, folder: Path, model: Known | None, wanted: str, get: str) -> AivtError:
    wrong = ", ".join(seen.wrong)
    match seen.state:
        case State.UNFINISHED:
            fix = f"{get} (it goes on where it stopped)" if get else f"Delete {folder} and get it again."
            return MissingError(
                "asr_model_unfinished", f"the speech model {wanted} is not completely installed", fix=fix
            )
        case State.DAMAGED:
            fix = f"{get} (it fetches what is damaged)" if get else f"Delete {folder} and get it again."
            return MissingError(
                "asr_model_damaged", f"the speech model {wanted} is damaged: {wrong}", fix=fix
            )
        case State.INCOMPLETE:
            fix = f"Put {wrong} of the same model into the folder." + f" Or run: {get[5:]}" * bool(get)
            return MissingError("asr_model_incomplete", f"{wrong} is missing in {folder}", fix=fix)
    if model:
        return MissingError(
            "asr_model_missing",
            f"the speech model {wanted} is not there",
            fix=f"{get} ({model.size_mb:g} MB)",
        )
    if _is_path(wanted):
        fix = "Correct ASR_MODEL, or leave it empty and run: aivt setup ears"
        return SettingsError("bad_setting", f"ASR_MODEL: there is no speech model in {folder}", fix=fix)
    near = difflib.get_close_matches(wanted.lower(), [each.name for each in KNOWN] + [*ALIASES], n=3)
    return SettingsError(
        "bad_setting",
        f"ASR_MODEL={wanted} is no known speech model, and there is none in {folder}",
        fix=f"Did you mean {', '.join(near)}?" if near else "Choose one of the list: aivt setup ears --list",
    )


def _is_path(wanted: str) -> bool:
    return any(mark in wanted for mark in "/\\~") or wanted in {".", ".."}


def _of_many(model: Known) -> str:
    """Return the model of this size that knows many languages."""
    plain = model.name.removesuffix(".en").removeprefix("distil-")
    other = known(plain)
    return other.name if other else "large-v3-turbo"
