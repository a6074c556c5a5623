"""What the policy process and the one that runs llama.cpp say to each other: one JSON object a line.

`Load` is asked once and answered by `Loaded` or `Refused`; `Generate` is answered by any number of `Chunk`
and then by `Done` or `Failed`. They are answered in the order in which they were asked.
"""

import msgspec


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load a model."""

    path: str
    context_tokens: int
    threads: int


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Make a reply."""

    id: int
    body: msgspec.Raw  # a streaming request to llama.cpp's /v1/chat/completions


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Make no more of this reply, nor of those that were asked for before it."""

    id: int


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """llama.cpp is there, with no model yet."""

    version: str
    graphics_bytes: int  # free memory of graphics cards; 0 where they share the computer's


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The model is in memory."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """llama.cpp does not take the model; why stands in its own output. The process ends."""


class Chunk(msgspec.Struct, frozen=True, tag="chunk"):
    """A part of a reply, in llama.cpp's words."""

    id: int
    data: msgspec.Raw  # one event of the stream, or an error


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Nothing more comes of this reply: it is whole, or was stopped."""

    id: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """This reply cannot be made."""

    id: int
    words: str


Asked = Load | Generate | Stop
Told = Hello | Loaded | Refused | Chunk | Done | Failed

_encoder = msgspec.json.Encoder()


def encoded(message: Asked | Told) -> bytes:
    """Return the line, with its end."""
    return _encoder.encode(message) + b"\n"


asked = msgspec.json.Decoder[Asked](Asked).decode
told = msgspec.json.Decoder[Told](Told).decode
