"""The ears."""

import os

# Before NumPy is imported. Its threads wait for the next product of matrices by spinning: with two of them a
# partial costs 81 ms of processor time instead of 3, and the products are too small for a second one to help.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
