"""languages.py - Interpreters: each runs one heavy script of inputs/, which prints digests of what it computed."""

from harness import job


@job("python3")
def python3(run):
    for malloc in "pymalloc", "malloc":  # With "malloc", every object of Python is a block of the library.
        run.run("/usr/bin/python3", run.input("work.py"),
                env={"PYTHONMALLOC": malloc, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"})


@job("perl")
def perl(run):
    run.run("perl", run.input("work.pl"), env={"PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0"})


@job("node")
def node(run):
    run.run("node", run.input("work.js"))


@job("lua", needs="lua5.4")
def lua(run):
    run.run("lua5.4", run.input("work.lua"))


@job("ruby")
def ruby(run):
    run.run("ruby -W:no-experimental", run.input("work.rb"))


@job("php")
def php(run):
    """Extensions come by dlopen with RTLD_DEEPBIND: their free() would be the C library's, their malloc() too."""
    options = "-d opcache.enable_cli=1 -d opcache.jit_buffer_size=32M -d memory_limit=-1"
    for zend_alloc in "1", "0":  # With "0", every value of PHP is a block of the library.
        run.run(f"php {options}", run.input("work.php"), env={"USE_ZEND_ALLOC": zend_alloc})


@job("awk", needs="gawk mawk")
def awk(run):
    lines = "".join(f"{n} alpha{n % 97} beta gamma-{n * n} delta\n" for n in range(100000))
    for program in "gawk", "mawk":
        run.run(f"{program} -f", run.input("work.awk"), stdin=lines)


@job("bash")
def bash(run):
    run.run("bash", run.input("work.sh"))


@job("java", needs="java javac")
def java(run):
    run.run("javac -d classes", run.input("Work.java"))
    run.hash("classes/Work.class", "classes/Work$Node.class")
    for collector in "Serial", "G1":
        run.run(f"java -XX:+Use{collector}GC -Xmx512m -cp classes Work")
