"""A part of the local stack as a process: `python -P -m deployments.held FD LOCK SECONDS MODULE [ARGUMENT…]`.

FD is the read end of a pipe whose write end the stack's process holds. When that process dies, however it dies, this one gets a
SIGTERM, and SECONDS later its whole process group is killed: no part outlives its stack, whatever it is made of. LOCK is held until
then, so that the next stack does not begin before.
"""

from __future__ import annotations

import os
import runpy
import sys

from contender.child import end_with_parent


def main(arguments: list[str]) -> None:
    descriptor, lock, grace, module, *rest = arguments
    os.umask(0o077)  # logs, journals: their owner's alone
    for inherited in (descriptor, lock):
        os.set_inheritable(int(inherited), False)
    end_with_parent(int(descriptor), grace=float(grace))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
