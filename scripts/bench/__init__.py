"""`aivt bench`: measures this computer and this version against the bars that the project has set itself.

latency, interrupt, resources: they drive the real processes of a show over its public surfaces (`aivt up`,
HTTP, WS /stream, WAV files) with engines of fixed cost, so that what is measured is everything but the
engines. voices, brains and `latency --real` measure the engines themselves, and what AIVT adds to them.
docs/measurements.md has the figures and explains the keys of `--json`.
"""
