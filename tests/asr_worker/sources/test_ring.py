import threading

import numpy as np

from apps.asr_worker.sound import RATE_HZ, Block
from apps.asr_worker.sources.ring import Ring


def block(at_s: float, length_s: float = 0.5) -> Block:
    return Block(np.zeros(round(length_s * RATE_HZ), np.float32), at_s)


def drained(ring: Ring) -> list[float]:
    found = []
    while (one := ring.take()) is not None:
        found.append(one.at_s)
    return found


def test_sound_in_order():
    """What was put in first comes out first, and then there is nothing."""
    ring = Ring(limit_s=2)
    for at_s in (1.0, 1.5, 2.0):
        ring.put(block(at_s))
    assert drained(ring) == [1.0, 1.5, 2.0]
    assert ring.take() is None
    assert ring.lost_s == 0


def test_nobody_fetches():
    """The oldest goes, and is counted; what is fetched makes room again."""
    ring = Ring(limit_s=2)
    for number in range(10):
        ring.put(block(number / 2))
    assert ring.lost_s == 3.0
    assert drained(ring) == [3.0, 3.5, 4.0, 4.5]
    for number in range(4):
        ring.put(block(number))
    assert ring.lost_s == 3.0


def test_a_block_longer_than_the_ring():
    """The newest sound is kept whatever its length."""
    ring = Ring(limit_s=1)
    ring.put(block(0))
    ring.put(block(5, length_s=3))
    assert drained(ring) == [5]
    assert ring.lost_s == 0.5


def test_two_threads():
    """Nothing is counted twice, lost unseen, or out of order."""
    ring, taken, done = Ring(limit_s=0.2), list[float](), threading.Event()

    def put() -> None:
        for number in range(5000):
            ring.put(block(number, length_s=0.01))
        done.set()

    thread = threading.Thread(target=put)
    thread.start()
    while not done.is_set():
        taken += drained(ring)
    thread.join()
    taken += drained(ring)
    assert taken == sorted(set(taken))
    assert len(taken) + round(ring.lost_s / 0.01) == 5000
