#!/usr/bin/python3
"""Runs a program that was built for libgc with Debian's libgc and with ours in its place, and compares what it prints.

Usage: clients.py --dir FOLDER-WITH-libgc.so.1 CLIENT

With ours the program must have collected, as often as the client's job says: the trace of the collector tells, which shows as well that it was ours.
"""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile

JOBS = {}


def job(cycles, percent=20):
    """A function that prepares the current folder and returns a command; the least number of collections under ours; TRI=gc:percent."""
    def add(fn):
        JOBS[fn.__name__] = (fn, cycles, percent)
        return fn
    return add


@job(cycles=5)
def w3m():
    random.seed(1)
    words = ["alpha", "beta", "<b>gamma</b>", '<a href="x">link</a>', "delta &amp; co", "&eacute;"]
    with open("big.html", "w", encoding="utf-8") as out:
        out.write("<html><head><title>t</title></head><body>")
        for i in range(800):
            out.write(f"<h2>Section {i}</h2><p>" + " ".join(random.choice(words) for _ in range(60)) + "</p>")
            if i % 10 == 0:
                row = "".join(f"<td>{random.random():.5f}</td>" for _ in range(6))
                out.write("<table border=1>" + f"<tr>{row}</tr>" * 8 + "</table>")
        out.write("</body></html>")
    return ["w3m", "-dump", "big.html"]


GUILE = r"""
(use-modules (ice-9 threads))
(define (build d) (if (= d 0) '() (cons (build (- d 1)) (build (- d 1)))))
(define (size t) (if (null? t) 1 (+ (size (car t)) (size (cdr t)))))
(define total 0)
(do ((i 0 (+ i 1))) ((= i 20)) (set! total (+ total (size (build 14)))))
(define table (make-hash-table))
(do ((i 0 (+ i 1))) ((= i 30000)) (hash-set! table (number->string i) (* i i)))
(define guardian (make-guardian))
(do ((i 0 (+ i 1))) ((= i 1000)) (guardian (list i)))
(gc)
(define n (let loop ((n 0)) (if (guardian) (loop (+ n 1)) n)))
(define names (let loop ((i 0) (all '())) (if (= i 50000) all (loop (+ i 1) (cons (string-append "x" (number->string i)) all)))))
(define weak (make-weak-value-hash-table))
(define kept (list 1 2 3))
(hashq-set! weak 'kept kept)
(define threads (map (lambda (i) (call-with-new-thread (lambda () (size (build 13))))) '(1 2 3 4)))
(define sizes (map join-thread threads))
(gc)
(define (sum-of k) (apply + (map (lambda (i) (call/cc (lambda (c) (if (odd? i) (c i) (* 2 i))))) (iota k))))
(for-each (lambda (x) (display x) (newline))
  (list total (hash-ref table "777") (> n 900) (length names) (car names) (hashq-ref weak 'kept) sizes
        (string-length (number->string (expt 3 20000))) (sum-of 5000)
        (catch 'wrong-type-arg (lambda () (+ 1 'a)) (lambda args (car args)))))
"""


@job(cycles=5, percent=100)
def guile():
    return ["guile", "-c", GUILE]


NEKO = r"""
build = function(d) { if( d == 0 ) return null; return $array(build(d - 1), build(d - 1)); };
size = function(t) { if( t == null ) return 1; return size(t[0]) + size(t[1]); };
var i = 0;
var total = 0;
while( i < 40 ) { total += size(build(13)); i += 1; };
$print(total, "\n");
var table = $hnew(0);
i = 0;
while( i < 20000 ) { $hset(table, "key" + i, $string(i * 3), null); i += 1; };
$print($hget(table, "key777", null), " ", $hcount(table), "\n");
var o = $new(null);
o.text = "";
i = 0;
while( i < 2000 ) { o.text = o.text + "x"; i += 1; };
$print($ssize(o.text), "\n");
"""


@job(cycles=5)
def neko():
    with open("job.neko", "w", encoding="utf-8") as out:
        out.write(NEKO)
    # The compiler is a program of its own, and runs on neko as well.
    return ["sh", "-c", "nekoc job.neko && neko job.n"]


@job(cycles=1)
def debfoster():
    return ["debfoster", "-n", "-i", "-d", "bash"]


@job(cycles=0)
def chase():
    os.mkdir("d")
    open("d/end", "w").close()
    last = "d/end"
    for i in range(100):
        os.symlink(os.path.abspath(last), f"d/link{i}")
        last = f"d/link{i}"
    return ["chase", "-v", *(f"d/link{i}" for i in range(25))]


@job(cycles=1)
def mmv():
    for i in range(5000):
        open(f"file{i}.old", "w").close()
    return ["mmv", "-n", "file*.old", "name#1.new"]


def run(command, environment):
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=180, check=False)
    except FileNotFoundError as missing:
        sys.exit(f"{missing}: scripts/deps programs")
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("client", choices=JOBS)
    options = parser.parse_args()
    prepare, least, percent = JOBS[options.client]
    environment = dict(os.environ, LC_ALL="C.UTF-8", GUILE_AUTO_COMPILE="0", PATH="/usr/bin:/bin:/usr/sbin:/sbin")
    environment.pop("LD_LIBRARY_PATH", None)
    library = os.path.join(os.path.abspath(options.dir), "libgc.so.1")
    # Once as the library that is found; once preloaded, where the allocator serves malloc() as well.
    sides = {
        "found": {"LD_LIBRARY_PATH": os.path.dirname(library)},
        "preloaded": {"LD_PRELOAD": f"{os.path.dirname(library)}/../libtri.so.1 {library}"},
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        command = prepare()
        expected = run(command, environment)
        if expected[0] != 0 or not expected[1]:
            sys.exit(f"under Debian's libgc: status {expected[0]}\n{expected[2]}")
        failed = False
        for side, extra in sides.items():
            status, printed, errors = run(command, environment | extra | {"TRI": f"gc:{percent},trace:gc,verbose"})
            lines = errors.splitlines()
            cycles = sum(bool(re.match(r"tri gc \d+ ", line)) for line in lines)
            rest = [line for line in lines if not re.match(r"tri gc |tri: version", line)]
            print(f"{options.client}, {side}: status {status}, {len(printed)} bytes, {cycles} collections")
            active = any("is active" in line for line in lines)
            if (status, printed) != expected[:2] or rest != expected[2].splitlines() or cycles < least or not active:
                print(f"{'' if active else 'our library was not there; '}under Debian's libgc: {len(expected[1])} bytes\n" + "\n".join(rest[:20]))
                failed = True
        os.chdir("/")
    return failed


sys.exit(main())
