"""Runs code in a separate process and records its use of the network.

An audit hook records the names that Python resolves and the addresses that it connects to. If
strace is installed, it records the connections of C libraries.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).parent
HOOK = """
import json, sys

def record(event, arguments):
    if event.startswith("socket.") and event.split(".")[1] in {EVENTS!r}:
        text = repr(arguments[1:] if event != "socket.getaddrinfo" else arguments)
        if "AF_UNIX" not in repr(arguments[:1]):
            with open({LOG!r}, "a") as file:
                file.write(f"{{event}} {{text}}\\n")

sys.addaudithook(record)
"""
EVENTS = ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo", "connect", "sendto")
INTERNET = re.compile(r"sa_family=AF_INET6?\b.*")
CALLS = "trace=connect,sendto,sendmsg,sendmmsg"
STRACE = ("strace", "-f", "--seccomp-bpf", "-e", CALLS)
"""``--seccomp-bpf`` filters in the kernel, so other system calls are not stopped."""


def has_strace() -> bool:
    """Whether strace is installed, 5.3 or later, and may trace here."""
    if shutil.which("strace") is None:
        return False
    command = [*STRACE, "-o", os.devnull, sys.executable, "-c", ""]
    return subprocess.run(command, capture_output=True).returncode == 0


def requests_of(code: str, folder: Path, *, traced: bool) -> list[str]:
    """Network requests of Python code, in a process with ``folder`` as its home.

    Its child processes are recorded too. An error of the code is raised.
    """
    hooks, log, trace = folder / "hooks", folder / "requests", folder / "trace"
    hooks.mkdir(exist_ok=True)
    text = HOOK.format(LOG=str(log), EVENTS=EVENTS)
    (hooks / "sitecustomize.py").write_text(text)
    command = [sys.executable, "-c", code]
    if traced:
        command = [*STRACE, "-q", "-o", str(trace), *command]
    paths = [str(hooks), str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Caches of kernels stay where they are, so that nothing is compiled again.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder)}
    # These variables turn analytics off, which the package must do itself.
    for name in ("CI", "TF_BUILD", "JENKINS_URL", "ORT_DISABLE_TELEMETRY"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = log.read_text().splitlines() if log.exists() else []
    lines = trace.read_text(errors="replace").splitlines() if traced else []
    return found + [match[0] for line in lines if (match := INTERNET.search(line))]
