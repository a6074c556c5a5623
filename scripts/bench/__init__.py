"""`aivt bench`: measures this computer and this version against the bars that the project has set itself.

latency, interrupt, resources: one command each. They drive the real processes of a show over its public
surfaces (`aivt up`, HTTP, WS /stream, WAV files) with engines of fixed cost, so that what is measured is
everything but the engines. docs/measurements.md has the figures and explains the keys of `--json`.
"""
