"""Where the model runs: the decision for every combination, and the line that says so."""

import itertools

import pytest
from structlog.testing import capture_logs

from apps.asr_worker.models.choice import TYPES, Choice, choose, decide, threads
from apps.asr_worker.models.computer import Computer
from apps.shared.errors import MissingError, SettingsError

SMALL = 484_000_000
LARGE = 3_090_000_000
ALL = frozenset(TYPES)
OLD_CARD = frozenset({"int8", "int8_float32", "float32"})  # before the first with 16-bit numbers
NO_INT8 = frozenset({"float16", "bfloat16", "float32"})


def missing(code):
    return MissingError(code, "why not", fix="Do this.")


@pytest.mark.parametrize(
    ("size_gb", "model_bytes", "types", "compute_type"),
    [
        (16, SMALL, ALL, "float16"),
        (12, SMALL, ALL, "float16"),
        (7.996, SMALL, ALL, "float16"),
        (6, SMALL, ALL, "int8_float16"),
        (4, SMALL, ALL, "int8_float16"),
        (24, LARGE, ALL, "int8_float16"),
        (40, LARGE, ALL, "float16"),
        (0, SMALL, ALL, "int8_float16"),
        (16, SMALL, OLD_CARD, "int8_float32"),
        (4, SMALL, OLD_CARD, "int8_float32"),
        (16, SMALL, NO_INT8, "float16"),
        (4, SMALL, NO_INT8, "float16"),
        (16, SMALL, frozenset({"float32"}), "float32"),
    ],
)
def test_on_a_card(make_settings, card, size_gb, model_bytes, types, compute_type):
    """Float16 where there is room beside the language model, else int8; old and new cards as they can."""
    chosen = decide(make_settings(), card(size_gb, cuda_types=types), model_bytes)
    assert (chosen.device, chosen.compute_type, chosen.trouble) == ("cuda", compute_type, None)


@pytest.mark.parametrize(
    ("types", "compute_type"), [(OLD_CARD, "int8"), (frozenset({"float32"}), "float32"), (ALL, "int8")]
)
def test_on_the_processor(make_settings, types, compute_type):
    """Int8; float32 where the processor knows no int8."""
    chosen = decide(make_settings(), Computer(8, types), SMALL)
    assert (chosen.device, chosen.compute_type, chosen.trouble) == ("cpu", compute_type, None)


TROUBLES = {
    "no_nvidia_driver": False,
    "nvidia_driver_fails": False,
    "nvidia_card_old": False,
    "no_cuda": False,
    "nvidia_driver_old": True,
    "cuda_incomplete": True,
    "cuda_fails": True,
}


@pytest.mark.parametrize(("device", "code"), [*itertools.product(["auto", "cuda", "cpu"], TROUBLES)])
def test_trouble(make_settings, device, code):
    """Asked for the card it says why not; not asked, only what can be mended; on cpu nothing."""
    trouble = None if device == "cpu" else missing(code)  # with cpu nobody looks
    chosen = decide(make_settings(asr_device=device), Computer(8, OLD_CARD, trouble=trouble), SMALL)
    told = device == "cuda" or (device == "auto" and TROUBLES[code])
    assert chosen == Choice(
        "cpu", "int8", 4, trouble if told else None, "why not" if trouble else "ASR_DEVICE=cpu"
    )


def test_asked_for_the_processor_it_leaves_the_card_alone(make_settings, card):
    """Even where there is one that works."""
    assert decide(make_settings(asr_device="cpu"), card(), SMALL).device == "cpu"


@pytest.mark.parametrize(("device", "wished"), [*itertools.product(["auto", "cuda", "cpu"], sorted(TYPES))])
@pytest.mark.parametrize("has_card", [True, False])
@pytest.mark.parametrize("broken", [True, False])
def test_a_wish_for_a_compute_type(make_settings, card, device, wished, has_card, broken):
    """It is met, or refused with what the device takes; on a card that fails it was meant for that card."""
    if has_card and not broken and device != "cpu":
        this, takes, runs_on = card(cuda_types=NO_INT8), NO_INT8, "cuda"
    else:
        trouble = missing("cuda_incomplete") if broken and device != "cpu" else None
        this, takes, runs_on = Computer(8, OLD_CARD, trouble=trouble), OLD_CARD, "cpu"
    settings = make_settings(asr_device=device, asr_compute_type=wished)
    if wished in takes:
        assert decide(settings, this, SMALL).compute_type == wished
    elif this.trouble:
        chosen = decide(settings, this, SMALL)
        assert (chosen.device, chosen.compute_type, chosen.trouble) == ("cpu", "int8", this.trouble)
    else:
        with pytest.raises(SettingsError) as raised:
            decide(settings, this, SMALL)
        assert f"ASR_COMPUTE_TYPE={wished}" in str(raised.value)
        assert ("processor" in str(raised.value)) == (runs_on == "cpu")
        assert raised.value.fix == f"Set it to one of: {', '.join(['auto', *sorted(takes)])}"


@pytest.mark.parametrize("wished", ["int4", "fp16", "default", "float 16"])
@pytest.mark.parametrize("trouble", [missing("cuda_incomplete"), None])
def test_what_is_no_compute_type(make_settings, wished, trouble):
    """Is refused on every device, also on a card that fails."""
    settings = make_settings(asr_device="cuda", asr_compute_type=wished)
    with pytest.raises(SettingsError, match=wished):
        decide(settings, Computer(8, OLD_CARD, trouble=trouble), SMALL)


@pytest.mark.parametrize("wished", ["INT8", " int8 ", "Auto"])
def test_case_and_spaces_do_not_matter(make_settings, wished):
    """In ASR_COMPUTE_TYPE."""
    assert decide(make_settings(asr_compute_type=wished), Computer(8, OLD_CARD), SMALL).compute_type == "int8"


@pytest.mark.parametrize(("cores", "used"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (6, 4), (64, 4)])
def test_threads(cores, used):
    """One core is left to everything else, and more than four are not worth their spinning."""
    assert threads(cores) == used


@pytest.mark.parametrize("trouble", [missing("cuda_incomplete"), None])
def test_the_choice_is_logged_in_one_line(make_settings, machine, put, trouble):
    """With the model, the device, the numbers and, where there is one, the trouble and what mends it."""
    machine(Computer(3, OLD_CARD, trouble=trouble))
    folder = put("small.en")
    with capture_logs() as lines:
        chosen = choose(make_settings(asr_device="auto"), folder)
    assert chosen == Choice("cpu", "int8", 2, trouble, "why not" if trouble else "ASR_DEVICE=cpu")
    [line] = lines
    assert (line["log_level"], line["model"], line["device"]) == ("info", "small.en", "cpu")
    assert (line["compute_type"], line["cpu_threads"]) == ("int8", 2)
    assert line.get("fix") == ("Do this." if trouble else None)


def test_the_size_of_the_model_decides(make_settings, machine, card, put):
    """The larger model no longer fits the same card in float16."""
    machine(card(16))
    folder = put("large-v3")
    assert choose(make_settings(), folder).compute_type == "float16"
    with (folder / "model.bin").open("r+b") as file:
        file.truncate(LARGE)
    assert choose(make_settings(), folder).compute_type == "int8_float16"
