"""harness.py - What a job is, and the Run in which it happens.

A job is a function of one Run. It is called twice, in the same empty directory: with a Run that preloads nothing
and with a Run that preloads the library. Each call leaves a transcript (commands, what they print, how they exit,
hashes of files), and the two transcripts must be equal. A job therefore removes whatever varies by nature: it
fixes seeds and dates, sorts, and hides figures of speed.

A preloaded program proves that the library served it, in one of two ways:
  report  the library wrote a report when the program ended (programs that end by exit);
  maps    the library is mapped into the program and its children while they run (servers).

Used by: run.py, jobs/*.py.
"""

import contextlib, glob, hashlib, os, pathlib, pwd, shlex, shutil, signal, socket, subprocess, time

HERE = pathlib.Path(__file__).resolve().parent
RUN_LIMIT_S = 150  # One side of a job; all of them take under 15 s on two idle cores.
PATH = ":".join(["/usr/bin", "/bin", "/usr/sbin", "/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"))])
JOBS = {}  # name -> function, in the order of the files


class Failure(Exception):
    """The job did not do what it must; the text says what."""


def job(name, needs=None):
    """Registers a job. `needs` lists the programs without which it fails at once; by default, its name."""
    def register(function):
        function.needs = (needs or name).split()
        JOBS[name] = function
        return function
    return register


def descendants(pid):
    """The living processes below pid, read from /proc."""
    children = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = pathlib.Path(stat).read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(stat.split("/")[2]))
    below = children.get(pid, [])
    for child in below:  # The list grows while it is read.
        below += children.get(child, [])
    return below


def stacks(pids):
    """Where the threads of these processes stand: the first thing to know about a hang."""
    if not shutil.which("gdb", path=PATH):
        return ""
    command = ["gdb", "-nx", "-batch", "-ex", "thread apply all backtrace 20", "-p"]
    texts = []
    for pid in pids[:4]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command + [str(pid)], capture_output=True, text=True, errors="replace", timeout=30)
            texts.append(f"--- process {pid}\n{done.stdout[-6000:]}")
    return "\n".join(texts)


class Run:
    """One side of a job: a directory, an environment and a transcript. `lib` is a copy of `origin`, which messages name;
    `root` is a directory that outlives both sides."""

    def __init__(self, root, lib=None, origin=None, proof=True):
        self.lib, self.origin, self.proof = lib, origin, proof and lib is not None
        self.dir = root / "work"
        self.reports = root / "reports"
        self.transcript = []
        self.deadline = time.monotonic() + RUN_LIMIT_S
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir()
        self.reports.mkdir(exist_ok=True)
        self.reports.chmod(0o1777)  # A server's report is written by the server's user.
        self.env = {"PATH": PATH, "HOME": str(self.dir), "TMPDIR": str(self.dir), "LC_ALL": "C.UTF-8", "TZ": "UTC",
                    "TERM": "dumb", "SHELL": "/bin/sh", "USER": pwd.getpwuid(os.getuid()).pw_name, "SOURCE_DATE_EPOCH": "1000000000"}
        if lib:
            self.env["LD_PRELOAD"] = str(lib)
            self.env["TRI"] = ",".join(filter(None, [os.environ.get("TRI"), f"stats:on,report:{self.reports}/%p"]))

    # Files.

    def path(self, name):
        return str(self.dir / name)

    def input(self, name):
        return str(HERE / "inputs" / name)

    def write(self, name, content):
        (self.dir / name).parent.mkdir(parents=True, exist_ok=True)
        (self.dir / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def read(self, name):
        return (self.dir / name).read_bytes()

    # The transcript.

    def note(self, *values):
        self.transcript += " ".join(map(str, values)).splitlines()

    def hash(self, *names):
        for name in names:
            self.note(name, len(self.read(name)), hashlib.sha256(self.read(name)).hexdigest())

    # Programs.

    def remaining(self):
        return max(1, self.deadline - time.monotonic())

    def describe(self, command):
        preload = f"LD_PRELOAD={self.origin} " if self.lib else ""
        return preload + shlex.join(command)

    def spawn(self, command, env, user, **streams):
        ids = {}
        if user and os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            ids = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return subprocess.Popen(command, cwd=self.dir, env=self.env | (env or {}), **ids, **streams)

    def run(self, line, *more, stdin=b"", env=None, user=None, status=0, show=True, proof="report"):
        """Runs a program to its end and returns its stdout. `line` is split into words as a shell would, the arguments
        after it are taken as they are. `show` puts the stdout into the transcript."""
        command = words(line, *more)
        child = self.spawn(command, env, user, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if proof == "maps":
            self.prove_mapped(child)
        try:
            out, err = child.communicate(stdin if isinstance(stdin, bytes) else stdin.encode(), self.remaining())
        except subprocess.TimeoutExpired:
            where = stacks([child.pid, *descendants(child.pid)])
            raise Failure(f"{self.describe(command)}\nhas not ended in time\n{where}") from None
        out, err = (text.decode(errors="backslashreplace") for text in (out, err))
        self.check_status(command, child.returncode, status, out[-1000:] + err[-3000:])
        self.check_messages(command, err)
        if proof == "report" and self.proof:
            report = self.reports / str(child.pid)
            if not report.exists() or not report.read_bytes().startswith(b"tri "):
                raise Failure(f"{self.describe(command)}\nleft no report: was the library active?\n{err[-1000:]}")
        if show:
            self.note("$", shlex.join(command))
            self.note(out)
        return out

    @contextlib.contextmanager
    def server(self, line, *more, ready, stop=signal.SIGTERM, status=0):
        """Runs a server while the block lasts; `ready` is the port or the socket path on which it answers."""
        command = words(line, *more)
        with open(self.path("server.log"), "ab") as log:
            child = self.spawn(command, None, None, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not answers(ready):
            self.check_alive(child, command)
            if time.monotonic() > self.deadline:
                raise Failure(f"{self.describe(command)}\nnever answered\n{stacks([child.pid])}")
            time.sleep(0.02)
        self.prove_mapped(child)
        try:
            yield child
        except Exception:
            time.sleep(0.3)  # If the server died, that is the news, not what became of its client.
            self.check_alive(child, command)
            raise
        self.check_alive(child, command)
        child.send_signal(stop)
        try:
            child.wait(self.remaining())
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.describe(command)}\ndoes not stop\n{stacks([child.pid])}") from None
        self.check_status(command, child.returncode, status, self.log_tail())
        self.check_messages(command, self.read("server.log").decode(errors="backslashreplace"))

    def log_tail(self):
        return self.read("server.log")[-3000:].decode(errors="backslashreplace")

    def check_alive(self, child, command):
        if child.poll() is not None:
            raise Failure(f"{self.describe(command)}\nended early, {verdict(child.returncode)}\n{self.log_tail()}")

    def check_status(self, command, got, want, text):
        if got != want:
            raise Failure(f"{self.describe(command)}\n{verdict(got)}, expected {verdict(want)}\n{text}")

    def check_messages(self, command, text):
        """The loader says when it cannot preload; the library when it finds misuse, which a child may not survive."""
        if said := [line for line in text.splitlines() if line.startswith("tri: ") or "ld.so: object" in line]:
            raise Failure("\n".join([self.describe(command), *said[:20]]))

    def prove_mapped(self, child):
        """Passes when the library is mapped into the process; waits, since the loader may still be at work."""
        while self.proof and self.lib.name not in pathlib.Path(f"/proc/{child.pid}/maps").read_text():
            if child.poll() is not None or time.monotonic() > self.deadline:
                raise Failure(f"{child.args[0]} does not have {self.lib.name} mapped")
            time.sleep(0.001)

    def prove_tree_mapped(self, pid):
        """The same for a settled server with all its workers; returns how many processes there are."""
        pids = [pid, *descendants(pid)]
        for each in pids if self.proof else []:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # A worker may end meanwhile.
                if self.lib.name not in pathlib.Path(f"/proc/{each}/maps").read_text():
                    raise Failure(f"process {each} does not have {self.lib.name} mapped")
        return len(pids)

    def wait_until(self, condition, what):
        while not condition():
            if time.monotonic() > self.deadline:
                raise Failure(f"waited in vain for: {what}")
            time.sleep(0.05)


def words(line, *more):
    return [*shlex.split(line), *map(str, more)]


def verdict(status):
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def free_port():
    """A port that nobody holds at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def answers(address):
    """Whether a server accepts connections on a port (int) or a socket path (str)."""
    family, where = (socket.AF_INET, ("127.0.0.1", address)) if isinstance(address, int) else (socket.AF_UNIX, address)
    with socket.socket(family) as probe:
        return probe.connect_ex(where) == 0
