"""Child processes that die with their parent, even when it is killed with SIGKILL and can clean up nothing.

A small Python program runs first, in the child's place: it ties its life to the parent's and then becomes the wanted
program by `exec`, so that the process id stays. `preexec_fn` would run Python code between fork and exec, which may
deadlock in a process with threads; `setpriv --pdeathsig` is not on every Linux, and does not see a parent that died
before the call.
"""

import os
import sys
from collections.abc import Sequence

# Linux: the kernel sends SIGKILL when the *thread* that forked us ends. A parent that is gone already never will, hence
# the comparison after the call.
_BY_KERNEL = """\
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGKILL = 1, 9
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG): " + os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process ended before its child began")
os.execv(sys.argv[2], sys.argv[2:])
"""

# Elsewhere nobody tells: a process of its own looks five times a second. It holds none of the child's files, or a pipe
# and a lock would stay open for it. The ids are compared as parents, since a free id may be given away again.
_BY_WATCHER = """\
import os, sys, time
parent, child = int(sys.argv[1]), os.getpid()
if os.fork() == 0:
    os.closerange(0, 65536)
    while os.getppid() == child:
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os.kill(child, 9)
        time.sleep(0.2)
    os._exit(0)
os.execv(sys.argv[2], sys.argv[2:])
"""


def tied_to_parent(command: Sequence[str], *, by_kernel: bool = sys.platform == "linux") -> list[str]:
    """Return a command line that runs `command` as a child of this process, tied to its life.

    `command[0]` is an absolute path. The process must be started by this process itself, on a thread that is to live as
    long as the child. `by_kernel` is for Linux alone; without it the end is noticed within 0.2 s.
    """
    program = _BY_KERNEL if by_kernel else _BY_WATCHER
    return [sys.executable, "-I", "-S", "-c", program, str(os.getpid()), *command]
