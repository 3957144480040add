"""How deep Python may call itself."""

import sys

RECURSION_MAX = 2000


def stay_shallow() -> None:
    """An elliptic-curve library raises the limit a hundredfold when it is imported, for work that is not done
    here.

    With that limit a deeply nested JSON text exhausts the stack and ends the process instead of being
    refused.
    """
    sys.setrecursionlimit(RECURSION_MAX)
