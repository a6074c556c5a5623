"""A model's file is looked into before llama.cpp does; every fault is one line with its fix."""

import struct
from dataclasses import replace
from typing import Any

import gguf
import pytest

from apps.policy.models import footprint, gguf_file, gguf_header
from apps.policy.models.gguf_file import inspect, path_of
from apps.shared.errors import EngineError, MissingError
from apps.shared.settings import Settings
from tests.fakes.gguf import write_adapter, write_gguf

HEAD = struct.calcsize("<IIQQ")


@pytest.fixture
def model(tmp_path):
    return write_gguf(tmp_path / "fox.gguf")


def fault(path, kind=EngineError):
    with pytest.raises(kind) as caught:
        inspect(path)
    assert path.name in str(caught.value)
    assert caught.value.fix
    return caught.value


def shape_of(path) -> footprint.Shape:
    shape = inspect(path).shape
    assert shape is not None
    return shape


def test_it_says_what_a_model_is(model):
    """Name, size, licence and limits are read, and agree with gguf's own reader."""
    info = inspect(model)
    reader = gguf.GGUFReader(model)
    assert info.parameters == sum(int(tensor.n_elements) for tensor in reader.tensors)
    assert info.size_bytes == model.stat().st_size
    assert replace(info, parameters=0, size_bytes=0, shape=None) == gguf_file.GgufInfo(
        path=model,
        name="Tiny Fox",
        architecture="llama",
        parameters=0,
        size_label="50K",
        quantisation="F16",
        licence="cc0-1.0",
        context_tokens=8192,
        talks=True,
        size_bytes=0,
        shape=None,
    )


def test_tensors_end_where_the_reader_finds_them(model):
    """The end of every tensor is what gguf's own reader computes."""
    reader = gguf.GGUFReader(model)
    expected = {tensor.name: int(tensor.data_offset + tensor.n_bytes) for tensor in reader.tensors}
    assert {tensor.name: tensor.end_bytes for tensor in gguf_header.read(model).tensors} == expected


def test_memory_is_weights_and_context(model):
    """More context takes more memory, and a model takes at least what it has on the disk."""
    info = inspect(model)
    assert shape_of(model) == footprint.Shape(2, 2, 64, 64, 128, shape_of(model).vocabulary)
    assert info.size_bytes < info.memory_bytes(1) < info.memory_bytes(4096)
    # Two layers, two heads, a key and a value of 64 numbers of 2 bytes each, for every token.
    assert info.memory_bytes(4096) - info.memory_bytes(1) == 2 * 2 * (64 + 64) * 2 * 4095


def test_layers_of_different_sizes_count_as_the_largest(tmp_path):
    """Heads may be told for each layer."""
    path = write_gguf(tmp_path / "fox.gguf", llama__attention__head_count_kv=[2, 1])
    assert shape_of(path).kv_heads == 2


def test_what_a_file_does_not_say_is_left_open(tmp_path):
    """Name, licence and quantisation are optional; the file's name and its tensors stand in."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("general__name", "general__license", "general__size_label", "general__file_type", "general__type")
    )
    info = inspect(write_gguf(tmp_path / "Fox-1.5b.gguf", template=None, **nothing))
    assert (info.name, info.licence, info.size_label, info.quantisation) == ("Fox-1.5b", "", "", "F16")
    assert not info.talks


def test_an_unknown_architecture_is_not_refused_here(tmp_path):
    """llama.cpp itself knows best what it can load."""
    assert inspect(write_gguf(tmp_path / "new.gguf", architecture="foxformer")).architecture == "foxformer"


def test_a_large_vocabulary_is_stepped_over(tmp_path):
    """Of long lists only the length is kept; nothing behind them is missed."""
    path = write_gguf(tmp_path / "big.gguf", "Hi fox", vocab_padding=20_000, width=32, layers=1)
    header = gguf_header.read(path)
    assert header.lengths["tokenizer.ggml.tokens"] > 20_000
    assert not {"tokenizer.ggml.tokens", "tokenizer.ggml.scores"} & header.values.keys()
    assert shape_of(path).vocabulary == header.lengths["tokenizer.ggml.tokens"]


@pytest.mark.parametrize("size", [0, 3, HEAD - 1])
def test_a_stub_is_no_gguf(tmp_path, size):
    """An empty file and the first bytes of one are not taken for a model."""
    (path := tmp_path / "stub.gguf").write_bytes(b"GGUF".ljust(size, b"\0")[:size])
    assert fault(path).code == "gguf_broken"


def test_a_web_page_is_named(tmp_path):
    """A download that brought a page instead of a model is told as such."""
    (path := tmp_path / "page.gguf").write_bytes(b"<!doctype html>" + b" " * 1000)
    error = fault(path)
    assert error.code == "gguf_broken"
    assert "web page" in str(error)
    assert "Download it again" in error.fix


def test_a_file_cut_anywhere_is_broken(model, tmp_path):
    """However early a download ended, it is found out, and told how much is there."""
    whole = model.read_bytes()
    cut = tmp_path / "cut.gguf"
    for size in [*range(HEAD, 4000, 97), len(whole) // 2, len(whole) - 1]:
        cut.write_bytes(whole[:size])
        assert fault(cut).code == "gguf_broken"
    assert f"{len(whole) - 1:,} of {len(whole):,} bytes" in str(fault(cut))


def test_changed_bytes_never_raise_anything_else(model, tmp_path):
    """A damaged header is a coded error or a harmless difference, whatever the byte."""
    whole = model.read_bytes()
    damaged = tmp_path / "damaged.gguf"
    codes = []
    for at in range(0, 3000, 7):
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            inspect(damaged)
        except EngineError as error:
            codes.append(error.code)
    assert set(codes) == {"gguf_broken", "gguf_unsupported"}
    assert len(codes) > 50


def test_an_older_format_is_named(model, tmp_path):
    """The first version of GGUF is not read as if it were today's."""
    old = bytearray(model.read_bytes())
    old[4] = 1
    (path := tmp_path / "old.gguf").write_bytes(old)
    error = fault(path)
    assert error.code == "gguf_unsupported"
    assert "version 1" in str(error)


@pytest.mark.parametrize("kind", sorted(gguf_file.OTHER_TYPES))
def test_what_is_no_model_is_told_apart(tmp_path, kind):
    """Adapters, eyes and by-products are files of the same format, and none of them can talk."""
    error = fault(write_gguf(tmp_path / "other.gguf", general__type=kind))
    assert error.code == "gguf_unsupported"
    assert gguf_file.OTHER_TYPES[kind] in str(error)


def test_a_real_adapter_is_told_apart(tmp_path):
    """As our own training writes it."""
    assert "adapter" in str(fault(write_adapter(tmp_path / "lora.gguf")))


@pytest.mark.parametrize(
    "senseless",
    [{"llama__context_length": 0}, {"llama__block_count": 0}, {"llama__block_count": 2**31}],
    ids=str,
)
def test_numbers_that_would_end_llama_cpp_are_refused(tmp_path, senseless):
    """llama.cpp ends its whole process at these, without an error."""
    assert fault(write_gguf(tmp_path / "odd.gguf", **senseless)).code == "gguf_broken"


def test_a_folder_cannot_be_read(tmp_path):
    """Whatever the system says about reading becomes our error."""
    error = fault(tmp_path)
    assert error.code == "gguf_broken"
    assert "may read" in error.fix


def parts(folder, there=(1, 2), count=2):
    for number in there:
        write_gguf(folder / f"fox-{number:05}-of-{count:05}.gguf", split__count=count, split__no=number - 1)
    return folder / f"fox-00001-of-{count:05}.gguf"


def test_a_model_in_parts_is_one_model(tmp_path):
    """Sizes are those of all parts together."""
    first = parts(tmp_path)
    info = inspect(first)
    assert info.path == first
    assert info.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_part_that_is_missing_is_named(tmp_path):
    """With its file's name."""
    with pytest.raises(MissingError, match=r"fox-00002-of-00002\.gguf") as caught:
        inspect(parts(tmp_path, there=(1,)))
    assert caught.value.code == "gguf_missing"


def test_another_part_than_the_first_names_the_first(tmp_path):
    """llama.cpp wants the first."""
    parts(tmp_path)
    error = fault(tmp_path / "fox-00002-of-00002.gguf")
    assert error.fix == "Set POLICY_GGUF to the first, fox-00001-of-00002.gguf."


def test_a_renamed_part_is_told(tmp_path):
    """Parts find each other by their names."""
    error = fault(parts(tmp_path).rename(tmp_path / "kitsu.gguf"))
    assert "one of 2 parts" in str(error)


# --- where the file is ---


def settings(tmp_path, wanted) -> Settings:
    return Settings(_env_file=None, aivt_data_dir=tmp_path, policy_gguf=str(wanted))


@pytest.mark.parametrize("wanted", ["Fox-1.5b.Q4_K_M", "Fox-1.5b.Q4_K_M.gguf"])
def test_a_name_means_the_models_folder(tmp_path, wanted):
    """The ending may be left out, also when the name has dots."""
    (folder := tmp_path / "models").mkdir()
    path = write_gguf(folder / "Fox-1.5b.Q4_K_M.gguf")
    assert path_of(settings(tmp_path, wanted)) == path


def test_a_path_means_itself(model, tmp_path):
    """Anywhere on the computer, with and without the ending."""
    assert path_of(settings(tmp_path, model)) == model
    assert path_of(settings(tmp_path, model.with_suffix(""))) == model


def test_no_wish_names_the_setting(tmp_path):
    """An empty POLICY_GGUF says how to choose."""
    with pytest.raises(MissingError) as caught:
        path_of(settings(tmp_path, ""))
    assert caught.value.code == "gguf_missing"
    assert ".gguf" in caught.value.fix


def test_a_wrong_name_shows_the_right_ones(tmp_path):
    """Who mistypes sees what is there: one name for a model in parts."""
    parts(tmp_path)
    (folder := tmp_path / "models").mkdir()
    parts(folder)
    write_gguf(folder / "kitsu.GGUF")
    (folder / "notes.txt").touch()
    with pytest.raises(MissingError, match=r"has: fox-00001-of-00002, kitsu\)") as caught:
        path_of(settings(tmp_path, "kitsune"))
    assert str(folder) in caught.value.fix


def test_a_folder_is_no_model(tmp_path):
    """It is told to name the file in it."""
    with pytest.raises(MissingError, match="is a folder"):
        path_of(settings(tmp_path, tmp_path))
