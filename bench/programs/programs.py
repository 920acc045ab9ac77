"""programs.py - Real programs, on inputs that generate.py writes."""

from pathlib import Path

import generate
import redis_jobs
from job import Job

HERE = Path(__file__).resolve().parent


def jobs(inputs, scale):
    """Writes the inputs of the real programs to a folder, and returns their jobs."""
    inputs.mkdir(parents=True, exist_ok=True)
    written = generate.write_all(inputs, scale)
    python = ["/usr/bin/python3", "-I", str(HERE / "objects.py"), str(scale)]
    return [
        *redis_jobs.jobs(scale),
        Job("sqlite", "programs", ["sqlite3", ":memory:"], stdin=written["sql"]),
        Job("g++", "programs", ["g++", "-std=c++20", "-O1", "-c", "-o", "/dev/null", str(written["c++"])]),
        Job("python", "programs", python),
        Job("python-malloc", "programs", python, {"PYTHONMALLOC": "malloc"}),
        Job("lua", "programs", ["lua5.4", str(HERE / "trees.lua"), str(scale)]),
        Job(
            "gs",
            "programs",
            [
                "gs",
                "-q",
                "-dSAFER",
                "-dNOPAUSE",
                "-dBATCH",
                "-sDEVICE=ppmraw",
                "-r100",
                "-sOutputFile=/dev/null",
                str(written["postscript"]),
            ],
        ),
        Job("z3", "programs", ["z3", str(written["smt"])]),
    ]
