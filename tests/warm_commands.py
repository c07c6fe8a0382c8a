"""Command lines as processes of their own that do not import everything anew: forks of a warm interpreter.

Starting `skill-fleet optimize` takes more CPU for its imports than most tests have work for it. Here an
interpreter imports the program once, and each command is a fork of it, with the arguments, the directory, the
environment and the open files of whoever asks. What a command line imports, how it ends at a signal, and what
is left of it when it is killed, is tested with real ones: `tests/cli/test_startup.py` and others.
"""

import atexit
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

_SERVER = """
import gc, json, os, select, signal, socket, sys, threading
import dspy  # before the socket is there: who connects finds it warm
from skill_fleet.cli import app
from skill_fleet.cli.main import main
from skill_fleet.optimization import run
from skill_fleet.services import creation, measuring, optimization

owner = os.dup(0)  # its end is that of whoever started all this

def end_with(line):
    select.select([line, owner], [], [])
    os.killpg(0, signal.SIGKILL)

def command(line):
    data, files, _, _ = socket.recv_fds(line, 1 << 20, 3)
    while not data.endswith(b"\\n"):
        more = line.recv(1 << 20)
        if not more:
            return 70
        data += more
    os.setpgid(0, 0)
    threading.Thread(target=end_with, args=[line], daemon=True).start()
    words, folder, environ = json.loads(data)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    sys.path[0] = os.getcwd()
    sys.argv = ["skill-fleet", *words]
    code = main(words)
    line.sendall(b"%d" % code)
    return code

door = socket.socket(socket.AF_UNIX)
door.bind("door")
door.listen(16)
gc.freeze()
print("ready", flush=True)
while True:
    ready = select.select([door, owner], [], [], 0.5)[0]
    if owner in ready:
        break
    if ready:
        line, _ = door.accept()
        if not os.fork():
            door.close()
            sys.exit(command(line))  # the line is closed when all is over
        line.close()
    while True:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                break
        except ChildProcessError:
            break
"""
_CLIENT = """\
import json, os, socket, sys
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n"
os.chdir(os.path.dirname(__file__))  # the path of a socket must be short
with socket.socket(socket.AF_UNIX) as line:
    line.connect("door")
    socket.send_fds(line, [asked[:1]], [0, 1, 2])
    line.sendall(asked[1:])
    code = line.recv(8)
    line.recv(8)
sys.exit(int(code) if code else 70)
"""


_ENVIRON = {
    "LANG": "C.UTF-8",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",  # as the program sets it before it imports DSPy
    "PYTHONDONTWRITEBYTECODE": "1",
}


@cache
def warm_command() -> str:
    """A program that does what `python -m skill_fleet` does, for as long as this process lives.

    It passes no signal on: what is to be interrupted is started as it is. A command ends, with the processes
    it has started, when whoever asked for it is gone, or this process is.
    """
    folder = Path(tempfile.mkdtemp(prefix="skill-fleet-warm-"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SKILL_FLEET_")}
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        cwd=folder,
        env={**environ, **_ENVIRON, "HOME": str(folder)},
        stdin=subprocess.PIPE,  # never written to: it is closed when this process ends, however it does
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C at the terminal is for the tests
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def end() -> None:
        server.stdin.close()
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    assert server.stdout.readline() == b"ready\n"
    client = folder / "client.py"
    client.write_text(_CLIENT)
    program = folder / "skill-fleet"
    # By a shell: the first line of a script holds neither a blank in a path nor a long one.
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(str(client))} "$@"\n')
    program.chmod(0o755)
    return str(program)
