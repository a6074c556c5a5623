"""Getting a model: through redirects and faults, never there by half, and tried before it counts."""

import contextlib
import errno
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from faster_whisper import WhisperModel

from apps.asr_worker.models import install
from apps.asr_worker.models.folder import MARK, Look, State, look, read_mark
from apps.asr_worker.models.mark import read_through
from apps.asr_worker.models.names import KNOWN
from apps.asr_worker.models.shelf import find
from apps.shared.errors import AivtError, EngineError, MissingError
from apps.shared.web import Limits
from tests.asr_worker.models.conftest import TINY
from tests.fakes.catalogue import Fault, Kind, in_thread
from tests.fakes.hub import FakeHub

SMALL = next(model for model in KNOWN if model.name == "small.en")
REPO = SMALL.repository
QUICK = Limits(stall_s=15, tries=2, first_pause_s=0, longest_pause_s=0)
FILES = {"config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json", "model.bin"}


@pytest.fixture
def fake():
    fake = FakeHub()
    fake.add_model(REPO, TINY)
    for path in [path for path in fake.files if path.rsplit("/", 1)[1] not in FILES]:
        del fake.files[path]
    with in_thread(fake):
        yield fake


@pytest.fixture
def settings(fake, make_settings):
    return make_settings(asr_models_url=fake.url, asr_model="small.en")


@pytest.fixture
def get(settings):
    """Get small.en as the command does."""
    return lambda: install.get(settings, SMALL, "int8", QUICK)


@pytest.fixture
def refused(get):
    """Fail to get it; returns the error."""

    def run(kind=MissingError):
        with pytest.raises(kind) as raised:
            get()
        assert "\n" not in f"{raised.value}{raised.value.fix}"
        return raised.value

    return run


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_model_is_installed(get, fake, settings):
    """Five files and the mark, byte for byte; faster-whisper loads it, and it is found."""
    folder = get()
    assert folder == settings.hearing_dir / "small.en" == find(settings)
    assert names(folder) == FILES | {MARK}
    for name in FILES:
        assert (folder / name).read_bytes() == fake.files[f"{REPO}/{name}"]
    assert read_through(folder) == Look(State.INSTALLED)
    mark = read_mark(folder)
    assert mark is not None
    assert (mark.repository, mark.url, mark.finished) == (REPO, f"{fake.url}/{REPO}", True)
    assert (
        mark.files["model.bin"].checksum
        == f"sha256:{hashlib.sha256(fake.files[f'{REPO}/model.bin']).hexdigest()}"
    )
    WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)
    assert not [request for request in fake.requests if request.status != 200], "each once, by one request"


def test_the_model_comes_last(get, fake):
    """What is small tells quickly that something is wrong; what is large is not fetched in vain."""
    get()
    assert fake.requests[-1].path.endswith("model.bin")


def test_an_older_model(get, fake):
    """With vocabulary.txt and without preprocessor_config.json, as those of 2023."""
    tokens = json.loads(fake.files.pop(f"{REPO}/vocabulary.json"))
    fake.files[f"{REPO}/vocabulary.txt"] = "\n".join(tokens).encode()
    del fake.files[f"{REPO}/preprocessor_config.json"]
    assert names(get()) == {"config.json", "tokenizer.json", "vocabulary.txt", "model.bin", MARK}


def test_a_plain_file_server(get, fake, settings):
    """A mirror that tells no checksums will do; what came is described by its own."""
    fake.plain = True
    folder = get()
    mark = read_mark(folder)
    assert mark is not None
    assert all(file.checksum.startswith("sha256:") for file in mark.files.values())
    assert read_through(folder) == Look(State.INSTALLED)


@pytest.mark.parametrize("kind", [Kind.DROP, Kind.SHORT])
def test_a_connection_that_breaks(get, fake, kind):
    """Is gone on with from the byte where it broke."""
    size = len(fake.files[f"{REPO}/model.bin"])
    fake.hurt(f"{REPO}/model.bin", Fault(kind, at_bytes=size // 2))
    assert read_through(get()) == Look(State.INSTALLED)
    assert [request.range for request in fake.asked("model.bin")] == ["", f"bytes={size // 2}-"]


def test_stopped_and_called_again(get, fake, refused, settings):
    """What has come is not fetched again; until the end the model counts as unfinished."""
    size = len(fake.files[f"{REPO}/model.bin"])
    fake.hurt(f"{REPO}/model.bin", Fault(Kind.DROP, at_bytes=size // 2), *[Fault(Kind.STATUS)] * 2)
    assert refused().code == "download_failed"
    with pytest.raises(MissingError) as raised:
        find(settings)
    assert raised.value.code == "asr_model_unfinished"
    fake.faults.clear()
    fake.requests.clear()
    assert find(settings.model_copy(update={"asr_model": str(get())}))
    assert [(request.path, request.range) for request in fake.requests] == [
        (f"{REPO}/model.bin", f"bytes={size // 2}-")
    ]


def test_stopped_by_the_streamer(settings, fake, monkeypatch):
    """Ctrl+C in the middle keeps what has come, and lets go of the lock."""
    size = len(fake.files[f"{REPO}/model.bin"])

    @contextlib.contextmanager
    def stopping(_):
        def tell(progress):
            if progress.done_bytes > size // 4:
                raise KeyboardInterrupt

        yield tell

    fake.bytes_per_s = 4 * size
    with monkeypatch.context() as patched:
        patched.setattr(install, "shown", stopping)
        with pytest.raises(KeyboardInterrupt):
            install.get(settings, SMALL, "int8", QUICK)
    part = settings.hearing_dir / "small.en" / "model.bin.part"
    assert part.stat().st_size > size // 4
    assert look(part.parent).state is State.UNFINISHED
    fake.requests.clear()
    install.get(settings, SMALL, "int8", QUICK)
    [request] = fake.requests
    assert request.range.startswith("bytes=")


@pytest.mark.parametrize("file", ["config.json", "model.bin"])
def test_a_file_that_arrives_damaged(refused, get, fake, file):
    """Is not kept: by SHA-256 for the large one, by git's name for a small one."""
    fake.hurt(f"{REPO}/{file}", *[Fault(Kind.WRONG_BYTES)] * 2)
    error = refused(AivtError)
    assert error.code == "wrong_checksum"
    assert file in str(error)
    assert error.fix
    fake.faults.clear()
    assert read_through(get()) == Look(State.INSTALLED)


@pytest.mark.parametrize("file", ["config.json", "model.bin"])
def test_a_hub_that_announces_another_file(refused, fake, file):
    """Does not pass either."""
    fake.lie[f"{REPO}/{file}"] = ("0" * 40) if file == "config.json" else ("0" * 64)
    assert refused(AivtError).code == "wrong_checksum"


def test_what_is_damaged_is_fetched_again_alone(get, fake):
    """A changed byte on the disk costs one file."""
    folder = get()
    config = folder / "config.json"
    config.write_bytes(config.read_bytes()[:-1] + b" ")
    (folder / "tokenizer.json").unlink()
    fake.requests.clear()
    get()
    assert [request.path for request in fake.requests] == [f"{REPO}/config.json", f"{REPO}/tokenizer.json"]
    assert read_through(folder) == Look(State.INSTALLED)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal(refused, fake, settings, status):
    """Is told with the status, and with the ways around it; nothing is left behind."""
    fake.refuse[f"{REPO}/config.json"].append(status)
    error = refused()
    assert str(status) in str(error) or "has no config.json" in str(error)
    assert "ASR_MODELS_URL" in error.fix
    assert str(settings.hearing_dir / "small.en") in error.fix
    assert not (settings.hearing_dir / "small.en").exists()


def test_a_repository_that_is_not_there(refused, fake):
    """The hub answers 401, as for a private one."""
    fake.files.clear()
    assert "401" in str(refused())


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("file", ["config.json", "model.bin"])
def test_trouble_that_passes(get, fake, status, file):
    """Is waited for, whether it is asked about or fetched."""
    fake.refuse[f"{REPO}/{file}"].append(status)
    fake.hurt(f"{REPO}/{file}", Fault(Kind.STATUS, status=status, retry_after="0"))
    assert read_through(get()) == Look(State.INSTALLED)


def test_no_network(refused, settings):
    """One line, with where the files may be put by hand."""
    fake_less = settings.model_copy(update={"asr_models_url": "http://127.0.0.1:9"})
    with pytest.raises(MissingError, match="no connection") as raised:
        install.get(fake_less, SMALL, "int8", QUICK)
    assert "by hand" in raised.value.fix
    assert str(settings.hearing_dir / "small.en") in raised.value.fix


def test_files_put_there_by_hand_after_a_failure(refused, fake, settings, monkeypatch):
    """Are taken by the same command without any network, after their checksums and a trial."""
    fake.hurt(f"{REPO}/model.bin", *[Fault(Kind.STATUS, status=403)] * 2)
    assert "by hand" in refused().fix
    shutil.copyfile(TINY / "model.bin", settings.hearing_dir / "small.en" / "model.bin")
    offline = settings.model_copy(update={"asr_models_url": "http://127.0.0.1:9"})
    assert find(offline.model_copy(update={"asr_model": str(install.get(offline, SMALL, "int8", QUICK))}))


def test_the_disk_is_asked_beforehand(refused, get, fake, monkeypatch):
    """For all files together, less what lies there already; nothing is fetched in vain."""
    needed = sum(len(content) for content in fake.files.values()) + install.MARK_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    error = refused()
    assert (error.code, fake.requests) == ("disk_full", [])
    assert "by hand" not in error.fix, "that would not help"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    folder = get()
    (folder / "config.json").unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=install.MARK_BYTES + 1000))
    assert look(get()) == Look(State.INSTALLED)


def test_a_disk_that_becomes_full(refused, get, fake, monkeypatch):
    """While the mark is written: one line; the next call goes on."""
    written = Path.write_bytes

    def full(path, content):
        written(path, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        assert refused().code == "disk_full"
    assert look(get()) == Look(State.INSTALLED)


def test_a_model_that_cannot_be_loaded(refused, get, fake, settings):
    """Nothing is removed, it does not count as installed, and it is said what to do."""
    fake.files[f"{REPO}/tokenizer.json"] = b"<html>Sign in</html>"
    error = refused(EngineError)
    assert error.code == "asr_model_broken"
    assert "small.en" in str(error)
    folder = settings.hearing_dir / "small.en"
    assert str(folder) in error.fix
    assert names(folder) == FILES | {MARK}
    assert look(folder).state is State.UNFINISHED


def test_tried_again_it_is_not_fetched_again(refused, get, fake, monkeypatch):
    """There was too little memory, and now there is enough: the network is not asked."""

    def no_memory(*_):
        raise EngineError("asr_model_broken", "std::bad_alloc")

    with monkeypatch.context() as patched:
        patched.setattr(install, "try_out", no_memory)
        refused(EngineError)
    fake.requests.clear()
    fake.heads.clear()
    assert look(get()) == Look(State.INSTALLED)
    assert (fake.requests, fake.heads) == ([], [])


def test_two_downloads_at_once(settings, refused):
    """The second is told to wait."""
    with install.only_one(settings.hearing_dir):
        assert refused(AivtError).code == "download_running"


def test_stopped_at_any_write_it_is_never_there_by_half(settings, get, fake, monkeypatch):
    """Whatever renaming is the last that happens, `find` gives the whole model or none."""
    replace = Path.replace
    allowed = 0
    count = 0

    def stopping(path, target):
        nonlocal count
        count += 1
        if count > allowed:
            raise KeyboardInterrupt
        return replace(path, target)

    for allowed in range(len(FILES) + 2):  # noqa: B007 - `stopping` reads it
        count = 0
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", stopping)
            with pytest.raises(KeyboardInterrupt):
                get()
        with pytest.raises(MissingError):
            find(settings)
        shutil.rmtree(settings.hearing_dir / "small.en")
    assert find(settings.model_copy(update={"asr_model": str(get())}))
