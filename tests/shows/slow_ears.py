"""A recogniser that takes a minute to load, as a big model does from a slow disk."""

import time

from apps.asr_worker.engines.scripted import Scripted
from apps.shared.settings import Settings

LOADING_S = 60.0


class SlowEars(Scripted):
    """It is not there before the test is over."""

    engine = "slow"

    def __init__(self, settings: Settings) -> None:
        time.sleep(LOADING_S)
        super().__init__(settings)
