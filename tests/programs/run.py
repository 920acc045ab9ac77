#!/usr/bin/python3
"""run.py - Runs real programs without and with a preloaded allocator and compares what they do.

  run.py --lib build/release/libtri.so redis git    these jobs
  run.py --lib build/release/libtri.so --all        all of them
  run.py --list                                     their names

TRI in the environment is passed on, in front of what the proof needs. See harness.py for the overview.
"""

import argparse, contextlib, ctypes, difflib, importlib, os, pathlib, shutil, signal, sys, tempfile, time, traceback

sys.dont_write_bytecode = True
from harness import HERE, JOBS, PATH, Failure, Run, descendants

PR_SET_CHILD_SUBREAPER = 36


def kill_leftovers():
    """Ends whatever a job left running. Daemons too: the driver is the reaper of all its descendants."""
    while pids := descendants(os.getpid()):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def one_side(function, run):
    """Calls the job and returns its transcript and the seconds that it took."""
    start = time.monotonic()
    try:
        function(run)
    except (OSError, ValueError, LookupError) as error:  # A server that broke off, a report that cannot be read.
        raise Failure("".join(traceback.format_exception(error))) from None
    finally:
        kill_leftovers()
    return run.transcript, time.monotonic() - start


def compare(function, root, origin, proof):
    """Runs both sides; returns their common transcript and a line about the times, or raises Failure."""
    missing = [program for program in function.needs if not shutil.which(program, path=PATH)]
    if missing:
        raise Failure(f"missing: {' '.join(missing)}; run scripts/deps programs")
    try:
        plain, plain_s = one_side(function, Run(root))
    except Failure as failure:
        raise Failure(f"fails without the library too; is all of packages.txt installed (scripts/deps programs)?\n"
                      f"{failure}") from None
    # A copy, since servers run as other users, who may not reach the build tree.
    lib = pathlib.Path(shutil.copy(origin, root))
    preloaded, preloaded_s = one_side(function, Run(root, lib, origin, proof))
    if plain != preloaded:
        difference = difflib.unified_diff(plain, preloaded, "without", "with", lineterm="", n=2)
        raise Failure("the transcripts differ:\n" + "\n".join(line[:300] for line in list(difference)[:60]))
    return plain, f"{plain_s:.1f} s without, {preloaded_s:.1f} s with"


def main():
    for file in sorted(HERE.glob("jobs/*.py")):
        importlib.import_module(f"jobs.{file.stem}")
    parser = argparse.ArgumentParser(description="Runs real programs without and with a preloaded allocator.")
    parser.add_argument("names", nargs="*", metavar="job")
    parser.add_argument("--lib", type=pathlib.Path, help="the library to preload")
    parser.add_argument("--all", action="store_true", help="run every job")
    parser.add_argument("--list", action="store_true", help="print the names of the jobs")
    parser.add_argument("--keep", action="store_true", help="keep the working directory of a job that fails")
    parser.add_argument("--show", action="store_true", help="print the transcript of a job that passes")
    parser.add_argument("--no-proof", action="store_true", help="do not ask whether the library was active")
    options = parser.parse_args()
    if options.list:
        return print("\n".join(JOBS))
    names = list(JOBS) if options.all else options.names
    if not names or not options.lib or not options.lib.is_file():
        parser.error("needs the names of jobs, or --all, and --lib with an existing library")
    if unknown := set(names) - set(JOBS):
        parser.error(f"no such job: {' '.join(sorted(unknown))}")

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    os.umask(0o022)
    failed = []
    for name in names:
        root = pathlib.Path(tempfile.mkdtemp(prefix="tri-"))
        root.chmod(0o755)
        keep = False
        try:
            transcript, times = compare(JOBS[name], root, options.lib.resolve(), not options.no_proof)
            if options.show:
                print("\n".join(transcript))
            print(f"PASS {name}: {times}", flush=True)
        except Failure as failure:
            failed.append(name)
            keep = options.keep
            print(f"FAIL {name}: {failure}" + (f"\nkept: {root}" if keep else ""), flush=True)
        finally:
            if not keep:
                shutil.rmtree(root, ignore_errors=True)
    if len(names) > 1:
        print(f"{len(names) - len(failed)} of {len(names)} passed" + ("; failed:" if failed else ""), *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
