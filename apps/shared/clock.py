"""The one clock that stage times are taken from."""

from time import perf_counter


def now_s() -> float:
    """Seconds on a clock that every process of this machine shares and that never jumps.

    CPython reads CLOCK_MONOTONIC, QueryPerformanceCounter or mach_absolute_time here: all count for the
    whole system, so times that two workers took may be subtracted. `time.monotonic` would do on Linux but
    ticks only every 15.6 ms on Windows before Python 3.13.
    """
    return perf_counter()
