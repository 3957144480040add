"""``launch.py SIGNAL PARENT UID VARIABLES PROGRAM …`` becomes PROGRAM, sent SIGNAL when process PARENT dies.

VARIABLES are the names, with commas between, of those it keeps; ``*`` is all of them. The interpreter itself
may need others to run.

Run by path in an interpreter of its own. The alternative, code between fork and exec, may deadlock in a
process with threads. It gives root up itself, because the interpreter may lie where only root can read it.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(death_signal: int, parent: int, uid: int, kept: str, argv: list[str]) -> None:
    if uid:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user, which clears it.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("its parent died while it was started")
    try:
        os.execve(argv[0], argv, variables(kept))  # noqa: S606 - there is no shell to be misled
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")


def variables(kept: str) -> dict[str, str]:
    everything = dict(os.environ)  # noqa: TID251 - to pass on, not to read
    return everything if kept == "*" else {name: everything[name] for name in kept.split(",") if name}


if __name__ == "__main__":
    signal_text, parent_text, uid_text, kept, *program = sys.argv[1:]
    main(int(signal_text), int(parent_text), int(uid_text), kept, program)
