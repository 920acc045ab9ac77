"""redis_jobs.py - A server under each allocator, with a client that asks it many things at once.

The client runs on its own allocator. Wall time is the client's, CPU time and peak RSS are the server's.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from job import Job

CLIENT = ["redis-benchmark", "-c", "16", "-P", "32", "-q"]
CONTROL = ["redis-cli", "-s"]


def drive(arguments):
    """A function that starts the server, sends the requests, and returns the client's seconds and text."""

    def run(start_server):
        folder = Path(tempfile.mkdtemp(prefix="tri-bench-"))
        socket = folder / "socket"
        server = start_server(
            [
                "--port",
                "0",
                "--unixsocket",
                str(socket),
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                str(folder),
                "--logfile",
                str(folder / "log"),
            ]
        )
        try:
            deadline = time.monotonic() + 20
            while not answers(socket):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server does not start")
                time.sleep(0.01)
            begin = time.monotonic()
            subprocess.run(
                [*CLIENT, "-s", str(socket), *arguments], check=True, stdout=subprocess.DEVNULL, timeout=600
            )
            return time.monotonic() - begin
        finally:
            try:
                subprocess.run(
                    [*CONTROL, str(socket), "shutdown", "nosave"], capture_output=True, check=False, timeout=20
                )
                server.wait(timeout=20)
            finally:
                server.kill()  # of no effect once it has ended
                server.wait()
                shutil.rmtree(folder, ignore_errors=True)

    return run


def answers(socket):
    if not os.path.exists(socket):
        return False
    ping = subprocess.run([*CONTROL, str(socket), "ping"], capture_output=True, text=True, check=False, timeout=20)
    return ping.stdout.strip() == "PONG"


def jobs(scale):
    def job(name, arguments):
        # Debian's server is linked with jemalloc.
        return Job(name, "programs", ["redis-server"], server=drive(arguments), links_its_own_malloc=True)

    def times(n):
        return str(max(1000, int(n * scale)))

    return [
        job("redis-set", ["-t", "set", "-r", "200000", "-d", "300", "-n", times(700000)]),
        job("redis-mix", ["-t", "lpush,rpop,sadd,hset,zadd", "-r", "100000", "-d", "60", "-n", times(250000)]),
    ]
