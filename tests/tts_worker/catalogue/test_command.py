"""`aivt voices`, against a stand-in for the public catalogue."""

import argparse
import json
import re
import signal
import subprocess
import sys

import onnx
import pytest

from apps.shared.edge import exit_code
from apps.shared.errors import MissingError
from apps.shared.settings import PROJECT_DIR
from apps.tts_worker.catalogue import command, listing
from apps.tts_worker.catalogue.command import RECOMMENDED
from apps.tts_worker.catalogue.install import only_one
from tests.fakes.catalogue import FakeCatalogue, Fault, Kind, in_thread

FROM_LESSAC = "Finetuned from U.S. English lessac voice (medium quality)."


@pytest.fixture
def fake():
    with in_thread(FakeCatalogue()) as fake:
        yield fake


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "show" / "voices"


@pytest.fixture
def aivt_voices(monkeypatch, capsys, fake, folder):
    """Run the command; returns its exit code, what it printed, and what it printed as errors."""
    monkeypatch.setenv("AIVT_DATA_DIR", str(folder.parent))
    monkeypatch.setenv("VOICES_URL", fake.url)

    def run(*download, language="", as_json=False):
        options = argparse.Namespace(language=language, json=as_json, download=list(download))
        code = exit_code(lambda: command.voices(options))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def add(fake, piper_voice):
    """Put voices into the catalogue."""

    def add(name="en_US-one-medium", **more):
        model = piper_voice("came", aligned=False)
        config = model.with_name("came.onnx.json")
        fake.add(name, model.read_bytes(), config.read_bytes(), **more)

    return add


def listed(out):
    """Lines of the table by name."""
    return {line.replace("*", " ").split()[0]: line for line in out.splitlines() if "MB" in line}


def test_the_list(aivt_voices, add):
    """Name, language, quality, size, licence, and whether a stream that earns money may use it."""
    add("en_US-one-medium")
    add("de_DE-zwei-low", licence="CC BY 4.0", num_speakers=8)
    add("en_US-lessac-high", licence="https://example.org/blizzard/2013/license.html")
    add("en_US-joe-medium", licence="CC0", training=FROM_LESSAC)
    code, out, _ = aivt_voices()
    lines = listed(out)
    assert code == 0
    assert list(lines) == ["de_DE-zwei-low", "en_US-joe-medium", "en_US-lessac-high", "en_US-one-medium"]
    for word in ("English (United States)", "medium", "MB", "public domain", "free"):
        assert word in lines["en_US-one-medium"]
    for word in ("German (Germany)", "low, 8 speakers", "CC BY 4.0", "credit needed"):
        assert word in lines["de_DE-zwei-low"]
    assert lines["en_US-lessac-high"].endswith("NO")
    assert lines["en_US-joe-medium"].endswith("unclear")
    assert "--download NAME" in out


@pytest.mark.parametrize("language", ["de", "DE", "de_DE", "de-de"])
def test_one_language(aivt_voices, add, fake, language):
    """By its code, with or without the country; no card of another one is read."""
    add("en_US-one-medium")
    add("de_DE-zwei-low")
    code, out, _ = aivt_voices(language=language)
    assert (code, list(listed(out))) == (0, ["de_DE-zwei-low"])
    assert len(fake.asked("MODEL_CARD")) == 1


def test_a_language_without_voices(aivt_voices, add):
    """Those that there are are named."""
    add("en_US-one-medium")
    add("de_DE-zwei-low")
    code, out, err = aivt_voices(language="fr")
    assert (code, out) == (2, "")
    assert "fix: Languages there are: de, en" in err


def test_as_json(aivt_voices, add):
    """One list with exactly these keys."""
    add(RECOMMENDED[0])
    code, out, _ = aivt_voices(as_json=True)
    [row] = json.loads(out)
    assert code == 0
    assert row.pop("size_bytes") > 1000
    assert row == {
        "name": RECOMMENDED[0],
        "language": "English (United States)",
        "quality": "medium",
        "speakers": 1,
        "licence": "public domain",
        "commercial": "free",
        "recommended": True,
        "installed": False,
    }


def test_recommended_voices_come_first(aivt_voices, add):
    """With a star, and what the star means below the list."""
    add("en_US-alpha-low")
    add(RECOMMENDED[1])
    _, out, _ = aivt_voices()
    assert list(listed(out)) == [RECOMMENDED[1], "en_US-alpha-low"]
    assert listed(out)[RECOMMENDED[1]].startswith("*")
    assert "* recommended" in out


@pytest.mark.parametrize(
    "card",
    [
        {"licence": "CC BY-NC 4.0"},
        {"licence": "CC BY 4.0"},
        {"licence": "See URL"},
        {"training": FROM_LESSAC},
    ],
    ids=str,
)
def test_a_recommendation_holds_as_long_as_the_card_says_free(aivt_voices, add, card):
    """Whoever changes the card takes the star away."""
    add(RECOMMENDED[0], **card)
    _, out, _ = aivt_voices()
    assert not listed(out)[RECOMMENDED[0]].startswith("*")
    assert "recommended" not in out


def test_three_english_voices_are_recommended():
    """And none of those whose licence forbids it, by what they are trained on."""
    assert len(RECOMMENDED) == 3
    assert all(name.startswith("en_") for name in RECOMMENDED)
    assert not any(word in name for name in RECOMMENDED for word in ("lessac", "hfc", "amy", "ryan"))


def test_without_a_card(aivt_voices, add, fake):
    """The licence is unknown, and how many could not be read is told."""
    add(RECOMMENDED[0])
    fake.hurt("en/en_US/kristin/medium/MODEL_CARD", Fault(Kind.STATUS, status=404))
    code, out, _ = aivt_voices()
    assert code == 0
    assert "unknown" in listed(out)[RECOMMENDED[0]]
    assert "unclear" in listed(out)[RECOMMENDED[0]]
    assert "licences of 1 voices could not be read" in out
    _, out, _ = aivt_voices()
    assert "public domain" in out


def test_entries_that_cannot_be_used_are_counted(aivt_voices, add, fake):
    """A hostile one does not spoil the list, and does not go unsaid."""
    add()
    fake.voices["bad"] = {**fake.voices["en_US-one-medium"], "key": "../../bad"}
    code, out, _ = aivt_voices()
    assert (code, list(listed(out))) == (0, ["en_US-one-medium"])
    assert "1 entries of the list cannot be used" in out


def test_offline_with_the_list_of_last_time(monkeypatch, aivt_voices, add, quick):
    """It is shown with its licences, and that it is old."""
    add(RECOMMENDED[0])
    _, before, _ = aivt_voices()
    with monkeypatch.context() as patched:
        patched.setattr(listing, "fetch", quick)
        code, out, _ = aivt_voices()
        assert code == 0
        assert "could not be fetched (no connection to example.org)" in out.splitlines()[0]
        assert out.splitlines()[1:] == before.splitlines()
        code, out, err = aivt_voices(as_json=True)
        assert len(json.loads(out)) == 1
        assert "could not be fetched" in err


def test_offline_without_a_list(monkeypatch, aivt_voices, quick):
    """One line with the fix, and the exit code for something missing."""
    monkeypatch.setattr(listing, "fetch", quick)
    code, out, err = aivt_voices()
    assert (code, out) == (3, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "fix"]


@pytest.fixture
def quick():
    """A fetch that finds no connection, without the waits between its tries."""

    async def fetch(*_, **__):
        raise MissingError("download_failed", "no connection to example.org", fix="Connect.")

    return fetch


def test_a_download(aivt_voices, add, folder):
    """Says what it did, how to use it and what the licence allows; the list then shows it."""
    add(RECOMMENDED[0])
    code, out, err = aivt_voices(RECOMMENDED[0])
    assert code == 0
    assert f"PIPER_VOICE={RECOMMENDED[0]}" in out
    assert "Licence: public domain. Free, also on a stream that earns money." in out
    assert "WARNING" not in out
    assert "estimated" not in out
    assert f"{RECOMMENDED[0]}: 100 % of" in err
    assert "public domain" in (folder / f"{RECOMMENDED[0]}.MODEL_CARD").read_text("utf-8")
    _, out, _ = aivt_voices()
    assert listed(out)[RECOMMENDED[0]].endswith("installed")


def test_the_second_time_nothing_is_fetched(aivt_voices, add, fake):
    """It is there, and it says so; the licence is told again."""
    add()
    aivt_voices("en_US-one-medium")
    fake.requests.clear()
    code, out, _ = aivt_voices("en_US-one-medium")
    assert code == 0
    assert "installed already, and whole" in out
    assert "Licence: public domain" in out
    assert [request.path for request in fake.requests] == ["voices.json"]


@pytest.mark.parametrize("damage", [b"", b"\x00" * 10_000])
def test_a_damaged_voice_is_fetched_again(aivt_voices, add, folder, damage):
    """The list shows the damage, the download mends it."""
    add()
    aivt_voices("en_US-one-medium")
    model = folder / "en_US-one-medium.onnx"
    whole = model.read_bytes()
    model.write_bytes(damage)
    _, out, _ = aivt_voices()
    assert listed(out)["en_US-one-medium"].endswith("damaged")
    _, out, _ = aivt_voices(as_json=True)
    assert json.loads(out)[0]["installed"] is False
    assert aivt_voices("en_US-one-medium")[0] == 0
    assert model.read_bytes() == whole


def test_a_voice_that_may_not_earn_money(aivt_voices, add):
    """Is installed as wished, with a warning at the end."""
    add(licence="CC BY-NC-SA 4.0")
    code, out, _ = aivt_voices("en_US-one-medium")
    assert code == 0
    assert "Licence: CC BY-NC-SA 4.0. Not for a stream that earns money" in out
    assert out.splitlines()[-1].startswith("WARNING")


def test_a_voice_whose_mouth_is_estimated(aivt_voices, add, fake):
    """The streamer is told."""
    add()
    path = "en/en_US/one/medium/en_US-one-medium.onnx"
    graph = onnx.load_from_string(fake.files[path])
    for node in graph.graph.node:
        if node.op_type == "Ceil":
            node.op_type = "Round"
    config = fake.files[f"{path}.json"]
    fake.add("en_US-one-medium", graph.SerializeToString(), config)
    code, out, _ = aivt_voices("en_US-one-medium")
    assert code == 0
    assert "will be estimated" in out


def test_several_at_once_and_by_an_old_name(aivt_voices, add, folder):
    """In the order given, each once."""
    add("en_US-one-medium", aliases=["en-us-one"])
    add("de_DE-zwei-low")
    code, out, _ = aivt_voices("de_DE-zwei-low", "en-us-one", "de_DE-zwei-low")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if "is installed." in line] == [
        "de_DE-zwei-low",
        "en_US-one-medium",
    ]
    assert len(list(folder.glob("*.onnx"))) == 2


def test_a_name_that_is_not_there(aivt_voices, add, fake):
    """The nearest ones are named, and nothing is fetched, not even those that are right."""
    add("en_US-kristin-medium")
    add("de_DE-zwei-low")
    code, _, err = aivt_voices("de_DE-zwei-low", "en_US-cristin-medium")
    assert code == 2
    assert "there is no voice en_US-cristin-medium" in err
    assert "Did you mean en_US-kristin-medium" in err
    assert fake.asked(".onnx") == []


def test_a_download_as_json(aivt_voices, add):
    """Standard output is the list of these voices, the talk goes elsewhere."""
    add("en_US-one-medium")
    add("de_DE-zwei-low")
    code, out, err = aivt_voices("de_DE-zwei-low", as_json=True)
    assert code == 0
    [row] = json.loads(out)
    assert (row["name"], row["installed"]) == ("de_DE-zwei-low", True)
    assert "Licence:" in err


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault(Kind.WRONG_BYTES), 1, "arrived damaged twice"),
        (Fault(Kind.LONG, at_bytes=5), 1, "is not the announced file"),
        (Fault(Kind.STATUS, status=404), 3, "is not there (the server answers 404)"),
        (Fault(Kind.STATUS, status=401), 3, "is refused (the server answers 401)"),
    ],
    ids=str,
)
def test_a_download_that_fails(aivt_voices, add, fake, folder, fault, code, words):
    """One line, its fix, and no voice by half."""
    add()
    fake.hurt("en/en_US/one/medium/en_US-one-medium.onnx", fault, fault)
    got, out, err = aivt_voices("en_US-one-medium")
    assert (got, out) == (code, "")
    assert words in err
    assert err.splitlines()[-2].startswith("error: ")
    assert err.splitlines()[-1].startswith("fix: ")
    assert list(folder.glob("*.onnx*")) == []
    fake.faults.clear()
    assert aivt_voices("en_US-one-medium")[0] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal to send to another program")
def test_ctrl_c_in_the_middle(aivt_voices, add, fake, folder):
    """The real program stops at once and says how to go on; the next call asks for the rest alone."""
    add()
    path = "en/en_US/one/medium/en_US-one-medium.onnx"
    size = len(fake.files[path])
    fake.hurt(path, Fault(Kind.STALL, at_bytes=size // 2))
    options = {"language": "", "json": False, "download": ["en_US-one-medium"]}
    script = (
        "import argparse, signal, sys; from apps.shared.edge import exit_code\n"
        "from apps.tts_worker.catalogue import command\n"
        # What a shell starts in the background is told to ignore it, and hands that on.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.exit(exit_code(lambda: command.voices(argparse.Namespace(**{options!r}))))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            assert program.stderr is not None
            assert any(" 0 %" not in line for line in program.stderr)
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=15)
        finally:
            program.kill()
    assert program.returncode == 130
    # At most the progress that was under way, and no traceback.
    assert all(re.fullmatch(r"en_US-one-medium: \d+ % of .* MB", line) for line in err.splitlines()), err
    assert "goes on with en_US-one-medium where it stopped" in out
    part = folder / ".downloads" / "en_US-one-medium" / "en_US-one-medium.onnx.part"
    have = part.stat().st_size
    assert 0 < have <= size // 2
    code, out, _ = aivt_voices("en_US-one-medium")
    assert code == 0
    assert fake.asked(".onnx")[-1].range == f"bytes={have}-"


def test_a_download_while_another_runs(aivt_voices, add, make_settings, folder):
    """Two would write the same file."""
    add()
    with only_one(make_settings(aivt_data_dir=folder.parent)):
        code, _, err = aivt_voices("en_US-one-medium")
    assert code == 1
    assert "another download" in err


def test_voices_of_her_own(aivt_voices, add, folder, piper_voice):
    """What somebody put into the folder by hand is listed too, with the licence of a card beside it."""
    add()
    own = piper_voice("kitsu")
    folder.mkdir(parents=True)
    for file in (own, own.with_name("kitsu.onnx.json")):
        file.rename(folder / file.name)
    (folder / "kitsu.MODEL_CARD").write_text("* License: CC0\n")
    _, out, _ = aivt_voices()
    assert "CC0" in listed(out)["kitsu"]
    assert listed(out)["kitsu"].endswith("installed")
    _, out, _ = aivt_voices(language="en")
    assert "kitsu" not in out
