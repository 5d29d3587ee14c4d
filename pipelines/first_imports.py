"""Imports what takes seconds to import: before all others, and with two things set first.

torch, MONAI and highdicom leave more than half a million objects, none of them garbage. To look for
some between them costs a sixth of a process's start, and to go through them at every later full
collection a quarter of a second each; so they are frozen: they live as long as the process.

torch's threads spin while they wait for each other. Where other processes want the same cores, as
receivers do, one that spins keeps the other from going on: small operations then take ten times
as long. `OMP_WAIT_POLICY` of the environment wins, where it is set.
"""

import gc
import os

_was_on = gc.isenabled()
gc.disable()
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
try:
    import highdicom
    import monai.bundle
    import torch
finally:
    gc.freeze()
    if _was_on:
        gc.enable()

IMPORTED = (highdicom, monai, torch)
