"""network.py - Servers and their clients over TCP and TLS."""

import os, signal

from harness import Failure, descendants, free_port, job


@job("nginx", needs="nginx wrk curl")
def nginx(run):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    run.write("html/index.html", "".join(f"<p>line {n} {n * n}</p>\n" for n in range(9000)))
    run.write("html/small.txt", "small\n")
    run.write("nginx.conf", f"""
{'user root;' if os.geteuid() == 0 else ''}
daemon off;
worker_processes 2;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 512; }}
http {{
  client_body_temp_path temp1; proxy_temp_path temp2; fastcgi_temp_path temp3; uwsgi_temp_path temp4; scgi_temp_path temp5;
  access_log access.log;
  types {{ text/html html; text/plain txt; }}
  gzip on; gzip_types text/plain; gzip_min_length 3;
  server {{
    listen 127.0.0.1:{port};
    root html;
    location /proxy/ {{ proxy_pass {url}/; proxy_buffers 4 8k; }}
    location /old {{ return 301 /small.txt; }}
    location ~ ^/rewrite/(.*)$ {{ rewrite ^/rewrite/(.*)$ /$1 last; }}
  }}
}}
""")

    def load(path, *headers):
        out = run.run("wrk -t2 -c48 -d1s", *headers, url + path, show=False)
        if "Socket errors" in out or "Non-2xx" in out or "requests in" not in out:
            raise Failure(f"wrk: {out}")

    def fetch():
        for path in "/", "/small.txt", "/proxy/", "/proxy/small.txt", "/rewrite/small.txt", "/missing":
            for coding in "identity", "gzip":
                said = run.run("curl -s -o body -w", "%{http_code} %{size_download} %{content_type}",
                               "-H", f"Accept-Encoding: {coding}", url + path, show=False)
                run.note(path, coding, said)
                run.hash("body")
        run.note(run.run("curl -s -o /dev/null -w %{http_code}", url + "/old", show=False))

    with run.server("nginx -p", run.dir, "-e", "error.log", "-c", "nginx.conf",
                    ready=port, stop=signal.SIGQUIT) as server:
        run.wait_until(lambda: run.prove_tree_mapped(server.pid) == 3, "both workers")
        fetch()
        load("/")
        load("/small.txt")
        load("/proxy/", "-H", "Accept-Encoding: gzip")
        old = set(descendants(server.pid))
        server.send_signal(signal.SIGHUP)
        run.wait_until(lambda: len(new := set(descendants(server.pid))) == 2 and not new & old, "workers instead of the old")
        run.prove_tree_mapped(server.pid)
        load("/small.txt")
        fetch()
    log = run.read("error.log").decode().splitlines()
    if bad := [line for line in log if any(f"[{level}]" in line for level in ("alert", "emerg", "crit"))]:
        raise Failure("\n".join(bad[:20]))


@job("openssl", needs="openssl curl")
def openssl(run):
    run.write("data", bytes(n * n % 251 for n in range(3_000_000)))
    for name in "sha256", "sha3-512", "blake2b512", "md5":
        run.run(f"openssl dgst -{name} data")
    for cipher in "aes-256-cbc", "chacha20", "camellia-128-ctr":
        sealing = f"openssl enc -{cipher} -pass pass:secret -pbkdf2 -iter 20000 -S 0123456789abcdef"
        run.run(f"{sealing} -in data -out sealed")
        run.run(f"{sealing} -d -in sealed -out opened")
        run.hash("sealed", "opened")

    # Keys are random, what is said about them is not.
    certify = "openssl req -x509 -nodes -days 30"
    run.run(f"{certify} -newkey rsa:2048 -subj /CN=root -keyout root.key -out root.pem")
    run.run(f"{certify} -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=leaf -keyout leaf.key -out leaf.pem "
            "-addext subjectAltName=IP:127.0.0.1 -CA root.pem -CAkey root.key")
    run.run("openssl verify -CAfile root.pem leaf.pem")
    run.run("openssl verify -CAfile leaf.pem leaf.pem", status=2, show=False)
    run.run("openssl x509 -in leaf.pem -noout -subject -issuer -ext subjectAltName")
    run.run("openssl pkeyutl -sign -inkey leaf.key -rawin -digest sha256 -in root.pem -out signature")
    run.run("openssl pkeyutl -verify -inkey leaf.key -rawin -digest sha256 -in root.pem -sigfile signature")
    run.run("openssl speed -seconds 1 -multi 2 -bytes 1000 sha256", show=False)

    port = free_port()
    with run.server(f"openssl s_server -accept 127.0.0.1:{port} -cert leaf.pem -key leaf.key -WWW -quiet",
                    ready=port, status=-signal.SIGTERM):
        for version in ["1.2", "1.3"] * 5:
            run.run(f"curl -s --cacert root.pem --tlsv{version} --tls-max {version} -o copy https://127.0.0.1:{port}/data",
                    show=False)
            run.hash("copy")
