"""Kills this process, or its whole run, at one exact point: imported by Python itself, from a folder in front of PYTHONPATH.

The product knows nothing of it. CONTENDER_FAULT holds the fault as JSON (`fault_points.Fault` and a marker); a process that is not
the fault's, or has none, is left alone. Two kinds of points:

    audit events   os.rename, os.link, open …: Python announces them before the system call, so `later=0` kills with the call not
                   done; `later=1` at the same thread's next event, with the call done; `later=n` at the n-th
    call, return   of a function of the product, named `file.py:function`

A fault fires once: whoever creates the marker kills. The marker then says what the process was at.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

LONG = 60.0  # seconds
ROLES = {"contender.training.job": "train", "contender.quality.process": "gate"}


def _role():
    arguments = sys.orig_argv
    return next((ROLES[a] for a in arguments if a in ROLES), "run" if "run" in arguments else "other")


class Fuse:
    """Counts down to the point, and kills."""

    def __init__(self, fault):
        import re
        import threading
        from glob import glob
        from itertools import count
        from signal import SIGKILL
        from time import sleep

        # At the point itself nothing may be imported: the process may be inside an import.
        self.glob, self.kill_signal, self.sleep, self.threading = glob, SIGKILL, sleep, threading
        self.own = os.getpid()
        self.fault = fault
        self.pattern = re.compile(fault["path"])
        self.codes = {}  # code → whether it is the function
        self.seen = count(1)
        self.left = None  # events until the kill, once matched
        self.thread = None
        self.spent = False

    def lay(self):
        if self.fault["event"] in ("call", "return"):
            self.threading.setprofile(self.on_profile)
            sys.setprofile(self.on_profile)
        else:
            sys.addaudithook(self.on_audit)

    def on_profile(self, frame, event, _argument):
        if event != self.fault["event"] or self.spent:
            return
        code = frame.f_code
        if code not in self.codes:
            self.codes[code] = bool(self.pattern.search(f"{code.co_filename}:{code.co_name}"))
        if self.codes[code] and self.is_the_one():
            self.kill(frame)

    def on_audit(self, event, arguments):
        if self.spent:
            return
        if self.left is not None:
            if self.threading.get_ident() == self.thread:
                self.left -= 1
                if self.left <= 0:
                    self.kill()
        elif event == self.fault["event"]:
            paths = [os.fsdecode(a) for a in arguments if isinstance(a, str | bytes | os.PathLike)]
            if paths and self.pattern.search(" -> ".join(paths)) and self.is_the_one():
                self.left, self.thread = self.fault["later"], self.threading.get_ident()
                if not self.left:
                    self.kill()

    def is_the_one(self):
        if os.getpid() != self.own:
            return False  # a fork on its way to another program
        return next(self.seen) == self.fault["occurrence"]  # in one step: threads that upload get here at the same time

    def kill(self, frame=None):
        self.spent = True  # first of all: what follows are events, too
        frame = frame or sys._getframe()
        try:
            handle = os.open(self.fault["marker"], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return  # it killed an earlier attempt
        told = {"pid": self.own, "step": _step(frame), "checkpoints": sorted(self.glob(self.fault["checkpoints"]))}
        os.write(handle, json.dumps(told).encode())
        os.close(handle)
        for victim in self.victims():
            with suppress(ProcessLookupError):
                os.kill(victim, self.kill_signal)
        if self.fault["victim"] == "parent":
            self.sleep(LONG)  # as in a long step: whoever watches the parent has to be another thread

    def victims(self):
        """In the order of their end: this process last, since it has to go on until all others are dead."""
        if self.fault["victim"] == "process":
            return [self.own]
        if self.fault["victim"] == "parent":
            return [os.getppid()]
        top = self.own if _role() == "run" else os.getppid()
        return sorted([top, *self.descendants(top)], key=lambda pid: pid == self.own)

    def descendants(self, pid):
        found = []
        for listing in self.glob(f"/proc/{pid}/task/*/children"):
            with suppress(
                FileNotFoundError, ProcessLookupError
            ):  # a thread that ended since: it has no children any more
                for child in map(int, Path(listing).read_text().split()):
                    found += [child, *self.descendants(child)]
        return found


def _step(frame):
    """The training's step, found where the trainer is at work; None elsewhere."""
    while frame is not None:
        state = getattr(frame.f_locals.get("self"), "state", None)
        step = getattr(state, "global_step", None)
        if isinstance(step, int):
            return step
        frame = frame.f_back
    return None


if "CONTENDER_FAULT" in os.environ:
    _fault = json.loads(os.environ["CONTENDER_FAULT"])
    if _role() == _fault["process"]:
        Fuse(_fault).lay()
