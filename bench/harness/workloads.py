"""workloads.py - The programs of bench/workloads, with their arguments. Names end in the number of threads."""

from job import Job

# name, group, program, arguments. The groups are those of the summary: they lose or win together.
WORKLOADS = [
    ("factor-1", "one thread", "factor", []),
    ("barnes-1", "one thread", "barnes", []),
    ("strings-1", "one thread", "strings", []),
    ("simple-1", "one thread", "simple", []),
    ("working-set-1", "one thread", "working_set", []),
    ("random-alive-1", "one thread", "random_alive", []),
    ("growth-1", "one thread", "growth", []),
    ("large-1", "one thread", "large", []),
    ("huge-1", "one thread", "huge", []),
    ("lru-cache-1", "one thread", "lru_cache", []),
    ("strings-2", "threads", "strings", ["--threads", "2"]),
    ("working-set-2", "threads", "working_set", ["--threads", "2"]),
    ("random-alive-2", "threads", "random_alive", ["--threads", "2"]),
    ("large-2", "threads", "large", ["--threads", "2"]),
    ("lru-cache-4", "threads", "lru_cache", ["--threads", "4"]),
    ("larson-2", "threads", "larson", ["--threads", "2"]),
    ("larson-8", "threads", "larson", ["--threads", "8"]),
    ("batch-4", "threads", "batch", ["--threads", "4"]),
    ("batch-exchange-4", "threads", "batch_exchange", ["--threads", "4"]),
    ("xmalloc-2", "threads", "xmalloc", ["--producers", "1", "--consumers", "1"]),
    ("xmalloc-8", "threads", "xmalloc", ["--producers", "4", "--consumers", "4"]),
    ("xmalloc-3-to-1", "threads", "xmalloc", ["--producers", "3", "--consumers", "1"]),
    ("xmalloc-1-to-3", "threads", "xmalloc", ["--producers", "1", "--consumers", "3"]),
    ("survivors-2", "threads", "survivors", ["--threads", "2"]),
    ("survivors-8", "threads", "survivors", ["--threads", "8"]),
    ("thread-exit-4", "threads", "thread_exit", ["--threads", "4"]),
    ("exchange-2", "threads", "exchange", ["--threads", "2"]),
    ("exchange-8", "threads", "exchange", ["--threads", "8"]),
    ("cache-thrash-2", "threads", "false_sharing", ["--threads", "2", "--mode", "active"]),
    ("cache-scratch-2", "threads", "false_sharing", ["--threads", "2", "--mode", "passive"]),
]


def jobs(folder, scale):
    return [
        Job(name, group, [str(folder / program), *arguments, "--scale", str(scale)])
        for name, group, program, arguments in WORKLOADS
    ]
