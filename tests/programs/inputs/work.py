# work.py - A Python program with much garbage, threads, forks and C extensions; prints only what is deterministic.
import collections, decimal, hashlib, json, multiprocessing, os, re, sqlite3, subprocess, sys, threading, zlib


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def words(seed, count):
    out = []
    for _ in range(count):
        seed = seed * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        out.append(f"w{seed >> 40:x}"[: 3 + (seed >> 33) % 9])
    return out


def churn(seed):
    table = collections.defaultdict(list)
    for index, word in enumerate(words(seed, 40000)):
        table[word[:3]].append((index, word * (index % 7)))
        if index % 5 == 0:
            table.pop(word[:2] + "0", None)
    return digest(sorted(table.items()))


def threads():
    results = [None] * 8
    def body(slot):
        results[slot] = churn(slot) + digest(zlib.compress(bytes(range(256)) * 4000, 9))
    workers = [threading.Thread(target=body, args=(slot,)) for slot in range(8)]
    for worker in workers:
        worker.start()
    for round in range(20):  # Forks while other threads allocate.
        pid = os.fork()
        if pid == 0:
            os._exit(len([bytearray(n) for n in range(0, 50000, 997)]) % 100)
        assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 51
    for worker in workers:
        worker.join()
    return results


def database():
    db = sqlite3.connect(":memory:")
    db.execute("create table t(id integer primary key, word text, weight real)")
    db.executemany("insert into t(word, weight) values(?, ?)", ((w, len(w) / 3) for w in words(7, 60000)))
    db.execute("create index i on t(word)")
    return db.execute("select substr(word, 1, 2) k, count(*), round(sum(weight), 3) from t group by k order by k").fetchall()


def main():
    text = " ".join(words(1, 80000))
    print("json", digest(json.loads(json.dumps([{w: [w, len(w), None, 1.5]} for w in text.split()]))))
    print("re", digest(re.findall(r"w(?:[0-9]+[a-f]+){1,3}\b", text)), digest(re.sub(r"([a-f])(\d)", r"\2\1", text)))
    print("threads", *threads())
    print("sqlite", digest(database()))
    decimal.getcontext().prec = 2000
    print("decimal", digest(decimal.Decimal(2).sqrt() * decimal.Decimal(3).exp()), digest(3 ** 20000 % 10 ** 3000))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print("fork pool", pool.map(churn, range(6)))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print("spawn pool", pool.map(churn, range(2)))
    for n in range(5):
        out = subprocess.run([sys.executable, "-c", f"print(sum(len('x' * i) for i in range({n}000)))"], capture_output=True)
        print("subprocess", out.returncode, out.stdout.decode().strip())


if __name__ == "__main__":
    main()
