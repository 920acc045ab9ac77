"""job.py - One command whose wall time, CPU time and peak RSS are its score."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Job:
    name: str
    group: str
    command: list[str]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    stdin: Path | None = None
    server: Callable | None = None  # the command serves, and this drives it (see redis_jobs.py)
    links_its_own_malloc: bool = False

    def missing(self):
        """The program that is not installed, or None."""
        return None if shutil.which(self.command[0]) else self.command[0]
