"""contenders.py - Which allocators take part, and where they are."""

import dataclasses
import os
import pathlib
import subprocess

# name -> the soname that Debian installs; None is what the C library brings.
PEERS = {
    "glibc": None,
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
}
OURS = "tri"
# The same library in one of its modes: what is to stand in the variable TRI.
MODES = {
    "tri-leaks": "leaks:on,report:/dev/null",
    "tri-safe": "safe:on",
}
REFERENCE = "mimalloc"  # the peer that every table also compares with


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    library: str | None  # None: nothing is preloaded
    options: str = ""  # for the variable TRI

    @property
    def is_peer(self):
        return self.name in PEERS

    def environment(self, links_its_own_malloc=False):
        """LD_PRELOAD for a program. One that links an allocator runs on glibc's only when libc comes first."""
        library = self.library or (find_library("libc.so.6") if links_its_own_malloc else None)
        return ({"LD_PRELOAD": library} if library else {}) | ({"TRI": self.options} if self.options else {})


def find_library(soname):
    """The file that the dynamic linker would take for this soname, or None."""
    listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    machine = "x86-64" if os.uname().machine == "x86_64" else "AArch64"
    for line in listing.splitlines():
        if line.strip().startswith(soname + " ") and machine in line:
            return line.split("=>")[1].strip()
    return None


def choose(names, library):
    """The contenders for a list of names (None: all that are there), and complaints about those that are not."""
    wanted = names or [*PEERS, OURS]
    found, missing = [], []
    for name in wanted:
        if "=" in name:
            name, _, path = name.partition("=")
        elif name == OURS or name in MODES:
            path = library
        elif name in PEERS:
            path = find_library(PEERS[name]) if PEERS[name] else None
            if PEERS[name] and not path:
                missing.append(f"{name}: {PEERS[name]} is not installed")
                continue
        else:
            missing.append(f"{name}: unknown; give NAME=LIBRARY")
            continue
        if path is not None and not os.path.exists(path):
            missing.append(f"{name}: there is no {os.path.relpath(path)}")
            continue
        resolved = str(pathlib.Path(path).resolve()) if path else None
        found.append(Contender(name, resolved, MODES.get(name, "")))
    return found, missing
