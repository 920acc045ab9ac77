"""runner.py - Runs one job under one contender, and all of them in turn."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMEOUT_S = 300


class Failure(Exception):
    """A job that did not do its work: it ended badly, or wrote something else than under the first contender."""


class Runner:
    def __init__(self, measure):
        self.measure = measure  # the program of measure.c
        self.outputs = {}  # job name -> (digest of what it wrote, the contender that it first wrote it under)

    def run(self, job, contender):
        """One sample: {wall_s, cpu_s, peak_mib, faults}."""
        with tempfile.TemporaryDirectory(prefix="tri-bench-") as folder:
            report = Path(folder) / "report"
            environment = {**job.environment, **contender.environment(job.links_its_own_malloc)}
            variables = [f"{name}={value}" for name, value in environment.items()]
            command = [str(self.measure), str(report), *variables, "--", *job.command]
            client_s, written = (
                (self._serve(job, contender, command), None)
                if job.server
                else (None, self._wait(job, contender, command))
            )
            cost = json.loads(report.read_text())
        if cost["status"] != 0:
            words = written.stderr.decode(errors="replace").strip()[-300:] if written else ""
            raise Failure(f"{job.name} under {contender.name}: exit status {cost['status']}. {words}")
        if written:
            self._compare(job, contender, written.stdout)
        return {
            "wall_s": client_s or cost["wall_s"],
            "cpu_s": cost["user_s"] + cost["system_s"],
            "peak_mib": cost["peak_kib"] / 1024,
            "faults": cost["minor_faults"] + cost["major_faults"],
        }

    def _wait(self, job, contender, command):
        stdin = open(job.stdin, "rb") if job.stdin else subprocess.DEVNULL
        try:
            return subprocess.run(command, stdin=stdin, capture_output=True, check=False, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as e:
            raise Failure(f"{job.name} under {contender.name}: not done after {TIMEOUT_S} s") from e
        finally:
            if job.stdin:
                stdin.close()

    def _serve(self, job, contender, command):
        def start(arguments):
            return subprocess.Popen(
                [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

        try:
            return job.server(start)
        except (RuntimeError, subprocess.SubprocessError) as e:
            raise Failure(f"{job.name} under {contender.name}: {e}") from e

    def _compare(self, job, contender, output):
        digest = hashlib.sha256(output).hexdigest()
        first_digest, first = self.outputs.setdefault(job.name, (digest, contender.name))
        if digest != first_digest:
            raise Failure(f"{job.name} under {contender.name} wrote other output than under {first}")


class Progress:
    """One line that is written over on a terminal; a line per round elsewhere."""

    def __init__(self, what, total):
        self.what, self.total, self.done, self.begin = what, total, 0, time.monotonic()
        self.live = sys.stderr.isatty()
        self.round = None

    def step(self, round_number, rounds, job, contender):
        if self.live:
            left = (time.monotonic() - self.begin) / self.done * (self.total - self.done) if self.done else 0
            eta = f"{int(left) // 60}:{int(left) % 60:02d} left" if self.done else ""
            line = f"round {round_number}/{rounds}  {self.done}/{self.total}  {job} / {contender}  {eta}"
            print(f"\r\033[K{line[:os.get_terminal_size(2).columns - 1]}", end="", file=sys.stderr, flush=True)
        elif self.round != round_number:
            self.round = round_number
            print(f"{self.what}: round {round_number} of {rounds}", file=sys.stderr, flush=True)
        self.done += 1

    def say(self, text):
        print(("\r\033[K" if self.live else "") + text, file=sys.stderr, flush=True)

    def end(self):
        if self.live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def rotated(items, by):
    """Whoever runs first meets other caches and another clock speed than the next; each takes its turn at it."""
    by %= len(items)
    return items[by:] + items[:by]


def contest(runner, jobs, contenders, rounds):
    """All jobs under all contenders, `rounds` times, the contenders side by side: a slow minute hits all of them.

    Returns {job: {contender: [sample]}} and the failures. A contender that failed a job does not run it again.
    """
    samples = {job.name: {c.name: [] for c in contenders} for job in jobs}
    failed = {}
    progress = Progress("jobs", rounds * len(jobs) * len(contenders))
    for round_number in range(rounds):
        for at, job in enumerate(jobs):
            for contender in rotated(contenders, round_number + at):
                progress.step(round_number + 1, rounds, job.name, contender.name)
                if (job.name, contender.name) in failed:
                    continue
                try:
                    samples[job.name][contender.name].append(runner.run(job, contender))
                except Failure as e:
                    failed[job.name, contender.name] = str(e)
                    samples[job.name][contender.name] = []
                    progress.say(f"FAILED {e}")
    progress.end()
    return samples, list(failed.values())
