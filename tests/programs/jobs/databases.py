"""databases.py - Databases: filled, saved, restarted, and asked for digests of what they hold."""

import os, pwd, socket

from harness import Failure, job


@job("sqlite3")
def sqlite3(run):
    run.run("sqlite3 test.db", stdin="""
pragma threads = 2;
create table item(id integer primary key, name text, price real, tags text);
insert into item select value, printf('name-%d', value * 7919 % 100003), value * 1.5, json_array(value % 7, value % 11)
  from generate_series(1, 120000);
create index by_name on item(name);
create virtual table words using fts5(body);
insert into words select group_concat(name, ' ') from item group by id / 50;
select count(*) from words where words match 'name AND 777';
select highlight(words, 0, '<', '>') from words where words match '"name 4242"' limit 1;
select j.value, count(*), sum(price) from item, json_each(item.tags) j group by 1 order by 1;
select id, lag(price, 2) over w, sum(price) over w from item
  window w as (order by name rows 3 preceding) order by id desc limit 5;
create table copy as select a.id, b.name from item a join item b on b.id = a.id * 31 % 120000 order by b.name, a.id;
begin;
update item set name = upper(name) where id % 3 = 0;
delete from item where id % 5 = 0;
rollback;
update item set name = upper(name) where id % 7 = 0;
delete from item where id % 9 = 0;
with recursive t(n, s) as (select 1, 'x' union all select n + 1, substr(s || n, -300) from t where n < 20000)
  select max(length(s)), max(s) from t;
vacuum;
pragma integrity_check;
select count(*), sum(id), sum(length(name)) from item;
""")
    run.hash("test.db")
    run.write("dump.sql", run.run("sqlite3 test.db '.dump item copy'", show=False))
    run.hash("dump.sql")
    run.run("sqlite3 again.db '.read dump.sql' 'select count(*), sum(length(name)) from copy'")


@job("redis", needs="redis-server redis-cli redis-benchmark")
def redis(run):
    at = "-s redis.sock"
    # No rewriting by itself: on a slow disk that would still be at work when the job asks for it, which is another answer.
    server = ("redis-server --port 0 --unixsocket redis.sock --appendonly yes --save '' --io-threads 2 "
              "--auto-aof-rewrite-percentage 0 --enable-debug-command yes")

    def ask(line, *more, show=True):
        return run.run(f"redis-cli {at} {line}", *more, show=show).strip()

    def await_info(text):
        run.wait_until(lambda: text in ask("info persistence", show=False), text)

    def dataset():
        return ask("debug digest"), ask("dbsize")

    commands = []
    for n in range(15000):
        commands += [f"set string:{n} {'v' * (n * 37 % 600)}", f"append string:{n // 3} tail{n}",
                     f"hset hash:{n % 300} f{n} {n * n}", f"rpush list:{n % 90} {'l' * (n % 90)}",
                     f"zadd zset:{n % 70} {n % 997} m{n}", f"sadd set:{n % 200} {n} s{n}"]
        if n % 4 == 0:
            commands += [f"del string:{n // 2}", f"lpop list:{n % 80}",
                         f"xadd stream:{n % 9} {n + 1}-0 a {n} b {'x' * (n % 50)}"]

    with run.server(server, ready=run.path("redis.sock")):
        await_info("loading:0")
        run.run(f"redis-benchmark {at} -q -n 3000 -c 30 -r 5000 -P 4", show=False)
        run.run(f"redis-benchmark {at} -q -n 3000 -d 20000 -r 300 -t set,get,lpush,lpop", show=False)
        ask("flushall")
        run.run(f"redis-cli {at}", stdin="\n".join(commands), show=False)
        ask("eval", "local t = {} for i = 1, 20000 do t[i] = redis.call('strlen', 'string:' .. i % 9000) end return #t", 0)
        ask("bgsave")  # The child saves while the parent goes on writing.
        ask("eval", "for i = 1, 5000 do redis.call('set', 'late:' .. i, string.rep('z', i % 99)) end return 1", 0)
        await_info("rdb_bgsave_in_progress:0")
        await_info("rdb_last_bgsave_status:ok")
        ask("bgrewriteaof")
        await_info("aof_rewrite_in_progress:0")
        await_info("aof_last_bgrewrite_status:ok")
        ask("memory purge")
        before = dataset()
    with run.server(server, ready=run.path("redis.sock")):
        await_info("loading:0")
        if dataset() != before:
            raise Failure("the dataset after the restart is another")
        ask("debug reload")
        if dataset() != before:
            raise Failure("the dataset after the reload is another")


@job("memcached")
def memcached(run):
    user = "-u root" if os.geteuid() == 0 else ""
    values = [b"%d," % n * (n * 61 % 2500 + 1) for n in range(20000)]  # Over 64 MB: the oldest will be evicted.
    path = run.path("memcached.sock")
    with run.server(f"memcached {user} -m 64 -t 4 -I 2m -s", path, ready=path):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(run.remaining())
            client.connect(path)
            stream = client.makefile("rwb")
            for n, value in enumerate(values):
                stream.write(b"set key%d 0 0 %d\r\n%s\r\n" % (n, len(value), value))
                stream.flush()
                if stream.readline() != b"STORED\r\n":
                    raise Failure(f"set key{n} was refused")
            hits = 0
            for n, value in enumerate(values):
                stream.write(b"get key%d\r\n" % n)
                stream.flush()
                if stream.readline() != b"END\r\n":
                    hits += 1
                    if stream.read(len(value)) != value or stream.read(7) != b"\r\nEND\r\n":
                        raise Failure(f"get key{n} gave another value")
        replies = set()
        for _ in range(300):  # Connections come and go.
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"incr none 1\r\n")
                replies.add(client.recv(100))
        run.note(0 < hits < len(values), replies)


@job("postgres", needs="initdb pg_ctl createdb pgbench psql pg_dump pg_checksums")
def postgres(run):
    """Runs as the user postgres where the driver is root: the server refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        os.chown(run.dir, pwd.getpwnam(user).pw_uid, -1)

    def call(line, *more, **how):
        return run.run(line, *more, user=user, **{"show": False} | how)

    def ask(sql):
        call("psql -X -A -t -d test -v ON_ERROR_STOP=1", stdin=sql, show=True)

    run.env |= {"PGHOST": str(run.dir), "PGUSER": "tester", "PGDATA": run.path("data")}
    call("initdb -U tester -A trust -k --locale=C.UTF-8")
    for start in 1, 2:
        settings = {"listen_addresses": "''", "unix_socket_directories": run.dir, "fsync": "off",
                    "max_parallel_workers_per_gather": 2, "jit_above_cost": 0 if start == 2 else -1}
        call("pg_ctl -w -l log start -o", " ".join(f"-c {name}={value}" for name, value in settings.items()))
        run.prove_tree_mapped(int(run.read("data/postmaster.pid").split()[0]))
        if start == 1:
            call("createdb test")
            call("pgbench -i -q -s 2 test")
            call("pgbench -c 6 -j 2 -t 200 --random-seed=5 test")
            ask("""
create table big as
  select n, md5(n::text) as name, n % 1000 as class, jsonb_build_object('n', n, 'list', array[n, n * 2]) as doc
  from generate_series(1, 80000) n;
create index on big using gin (doc);
create index on big (name text_pattern_ops);
create function churn(rounds int) returns bigint language plpgsql as $$
declare total bigint := 0; text_value text := '';
begin
  for i in 1..rounds loop
    text_value := right(text_value || md5(i::text), 4000);
    begin
      if i % 10 = 0 then raise exception 'expected'; end if;
      total := total + length(replace(text_value, 'a', 'bb'));
    exception when others then total := total + 1; end;
  end loop;
  return total;
end $$;
vacuum analyze;
""")
        ask("""
select count(*), sum(abalance), md5(string_agg(aid || ':' || abalance, ',' order by aid)) from pgbench_accounts;
select count(*), sum(delta) from pgbench_history;
select sum(tbalance) from pgbench_tellers;
set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
select class, count(*), min(name), sum((doc->>'n')::int) from big group by class order by 3 limit 5;
select count(*) from big a join big b on a.name > b.name and a.n = b.n + 1;
set work_mem = '256kB';
select md5(string_agg(name, '' order by name, n)) from big;
select n, name, rank() over (partition by class order by name) from big order by name desc limit 5;
select count(*) from big where doc @> '{"list": [4242]}';
select count(*) filter (where name ~ '^(a|b)[0-9]+.*(ff|00)'), sum(length(regexp_replace(name, '[0-9]+', '-', 'g')))
  from big;
select churn(8000);
""")
        # Rows lie in the order of their last update; newer versions guard the dump with a random key.
        dump = call("pg_dump -t big -t pgbench_accounts test")
        run.write("dump.sql", "\n".join(sorted(line for line in dump.splitlines() if "restrict" not in line)))
        run.hash("dump.sql")
        call("pg_ctl -w -m fast stop")
    call("pg_checksums --check")
    log = run.read("log").decode()
    run.check_messages(["postgres"], log)
    if bad := [line for line in log.splitlines() if "PANIC" in line or "terminated by signal" in line]:
        raise Failure("\n".join(bad))
