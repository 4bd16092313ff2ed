"""The clock of a program in Python differs from the real one by the seconds in the file MOVED_CLOCK."""

import os
import time
from pathlib import Path

CLOCK = Path(os.environ["MOVED_CLOCK"])


def moved(real):
    return lambda: real() + float(CLOCK.read_text())


time.time, time.monotonic = moved(time.time), moved(time.monotonic)
