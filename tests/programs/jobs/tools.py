"""tools.py - Version control, archivers, sorters, editors and terminals."""

from harness import job


def tree(run, name):
    """A directory of some hundred files, the same each time."""
    for n in range(400):
        run.write(f"{name}/d{n % 20}/f{n}", "".join(f"{n} line {i} {i * n % 1009}\n" for i in range(n * 13 % 700)))


@job("git")
def git(run):
    run.env |= {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org"}
    now = 1_000_000_000

    def call(line, show=True, repository="repository"):
        nonlocal now
        now += 60
        date = f"{now} +0000"
        return run.run(f"git -C {repository} {line}", show=show, env={"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date})

    tree(run, "repository")
    call("init -q -b main")
    call("config pack.threads 2")
    call("add .")
    call("commit -q -m start")
    for n in range(60):
        run.write(f"repository/d{n % 20}/f{n}", "".join(f"{n} line {i} {i * n % 503}\n" for i in range(400)))
        run.write("repository/log", "".join(f"entry {i}\n" for i in range(n * 20)))
        call("add -A")
        call(f"commit -q -m 'commit {n}'")
    call("checkout -q -b side HEAD~20")
    run.write("repository/side", "side\n")
    call("add side")
    call("commit -q -m side")
    call("merge -q -m merge main")
    call("rebase -q main", show=False)
    call("gc -q --aggressive --prune=now")
    call("repack -q -a -d -f --window=20")
    call("fsck --full --strict")
    run.run("git clone -q --no-local repository clone")
    for line in ("log --stat --all --format='%H %s'", "log -p -M --max-count=20", "blame -s d7/f7",
                 "diff --word-diff HEAD~9", "grep -c -E 'line (1|2)+ '", "rev-list --objects --all", "ls-files -s", "archive --format=tar HEAD"):
        run.write("output", call(line, show=False, repository="clone"))
        run.note(line)
        run.hash("output")
    call("status --short", repository="clone")


@job("xz")
def xz(run):
    run.write("data", b"".join(b"%d %d %x\n" % (n, n * n % 10007, n * 2654435761 % 2**32) for n in range(350_000)))
    run.hash("data")
    for options, name in ("-T2 -4 --block-size=1MiB", "data.xz"), ("-T1 -2", "data.xz"), ("--format=lzma -1", "data.lzma"):
        run.run(f"xz -k -f {options} data")
        run.hash(name)
        run.run(f"xz -k -f -T2 -d {name}")
        run.hash("data")


@job("tar", needs="tar gzip diff")
def tar(run):
    tree(run, "tree")
    (run.dir / "out").mkdir()
    for options, name in ("-cf", "plain.tar"), ("-czf", "packed.tar.gz"):
        run.run(f"tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner {options} {name} tree")
        run.hash(name)
        run.run(f"tar -tvf {name}")
    run.run("tar -xf packed.tar.gz -C out")
    run.run("diff -r tree out/tree")
    run.run("gzip -9 -n -k plain.tar")
    run.run("gzip -l plain.tar.gz")
    run.run("gzip -t plain.tar.gz")
    run.hash("plain.tar.gz")


@job("coreutils", needs="bash sort uniq join sed grep find xargs")
def coreutils(run):
    tree(run, "tree")
    run.write("lines", "".join(f"{n * 7919 % 300_007} {n % 1000} word{n % 77}\n" for n in range(300_000)))
    for line in (
        "sort --parallel=4 -S 8M -k1,1n lines",
        "sort -u -k2,2 -k1,1r lines",
        "sort -R --random-source=lines lines",
        "shuf --random-source=lines lines",
        "sort -k1,1 lines | join - <(sort -k1,1 lines)",
        "diff <(sort lines) <(sort -n lines)",
        "cut -d' ' -f2,3 lines | tac",
        r"sed -E 's/(word)([0-9]+)/\2\1/g' lines",
        "grep -E '(12|34)+.*word[0-9]*7$' lines",
        "find tree -type f -printf '%s %p\n' | sort | uniq -c",
        "find tree -type f | sort | xargs -n9 sha1sum",
        "split -n l/7 lines part. && wc part.*",
        "ls -lR --time-style=+ tree | wc",
        "factor 1234567890123456789",
    ):
        run.run("bash -c", f"({line}) | sha256sum")


@job("vim")
def vim(run):
    run.write("text", "".join(f"line {n} value={n * n % 9973} end\n" for n in range(20000)))
    script = r"""
%s/\v(line) (\d+)/\=submatch(2) * 3 . ' ' . submatch(1)/g
sort n /value=/
g/7 line/m0
v/[13579]=/s/end$/even/
let list = map(range(30000), 'v:val * v:val % 977')
let words = {}
for n in list | let words['k' . n] = get(words, 'k' . n, '') . 'x' | endfor
call append(0, map(sort(items(words)), 'v:val[0] . len(v:val[1])'))
execute "normal! ggqaA!\<Esc>jq500@a"
1000,3000d
undo
%!sort -r
wq! result
"""
    run.run("vim -N -u NONE -i NONE -es text", stdin=script.lstrip())
    run.hash("result")


@job("tmux", needs="tmux bash")
def tmux(run):
    def call(line, *more, show=True):
        return run.run(f"tmux -S tmux.sock -f /dev/null {line}", *more, show=show)

    windows = range(1, 7)
    call("new-session -d -s test -x 120 -y 40 'bash --norc'")
    run.prove_tree_mapped(int(call("display-message -p '#{pid}'", show=False)))
    call("set-option -g history-limit 20000")
    for n in windows:
        call(f"new-window -d -t test:{n}", f"seq {n * 1000} {n * 1000 + 9000}; echo done-{n}; exec sleep 1000")
        call(f"split-window -d -t test:{n} 'exec sleep 1000'")
    for n in windows:
        run.wait_until(lambda: f"done-{n}" in call(f"capture-pane -p -t test:{n}.0", show=False), f"done-{n}")
        call(f"resize-window -t test:{n} -x {60 + n} -y 30")
        run.write("pane", call(f"capture-pane -p -S - -t test:{n}.0", show=False))
        run.hash("pane")
    call("list-panes -s -F '#{window_index} #{pane_width}x#{pane_height} #{history_size}'")
    call("kill-server")
