"""Where sound comes from. One Protocol; a microphone and a WAV file fulfil it."""

from typing import Protocol

from apps.asr_worker.sound import Block
from apps.shared.errors import AivtError


class Source(Protocol):
    """Gives sound as it is captured."""

    name: str  # for the streamer: the device, the file
    trouble: AivtError | None  # why nothing comes, or why it is not good: lost, digital silence, clipped
    lost_s: float  # seconds of sound that were dropped, the oldest first, because nobody fetched them in time

    async def run(self) -> None:
        """Keep it open, for ever: a device that is lost is looked for until it is back.

        Returns at a file's end. Raises SettingsError for a file that cannot be used.
        """

    async def read(self) -> Block | None:
        """Return the next sound, waiting for it; None when there will be no more of it.

        Blocks follow each other without a gap, unless `at_s` tells of one.
        """
