"""When Python looks for garbage that refers to itself."""

import gc

# Python's own are 700, 10 and 10.
THRESHOLDS = 50_000, 20, 50


def expect_little_garbage() -> None:
    """Call it when a process has all that it will keep.

    A call leaves few cycles behind, and looking for them among all that the libraries have made is a part of
    every call. What is there now is not looked at again, and what comes is looked at less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
