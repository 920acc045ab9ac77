"""media.py - Encoders, renderers and a browser: large blocks, alignment, many threads."""

import contextlib, http.server, pathlib, threading

from harness import Failure, job


@job("ffmpeg")
def ffmpeg(run):
    # 512 columns, since libx264 encodes 480 according to what fresh memory holds (as MALLOC_PERTURB_ shows).
    quiet = "ffmpeg -nostdin -v error -y"
    sources = ("-f lavfi -i testsrc2=size=640x360:rate=25:duration=3 "
               "-f lavfi -i sine=frequency=440:beep_factor=4:duration=3 "
               "-filter_complex [0:v]scale=512:288,hflip,boxblur=2[v] -map [v] -map 1:a")
    codecs = {"h264.mkv": "-c:v libx264 -preset veryfast -c:a flac",
              "mpeg4.avi": "-c:v mpeg4 -c:a mp2",
              "vp9.webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus"}
    for name, codec in codecs.items():
        run.run(f"{quiet} {sources} {codec} -threads 2 -bitexact -flags +bitexact -fflags +bitexact {name}")
        run.hash(name)
        run.run(f"{quiet} -threads 2 -i {name} -f framemd5 -")


@job("ghostscript", needs="gs")
def ghostscript(run):
    safe = "gs -q -dNOPAUSE -dBATCH -dSAFER"
    script = run.input("work.ps")
    run.run(f"{safe} -sDEVICE=png16m -r150 -dTextAlphaBits=4 -dGraphicsAlphaBits=4 -sOutputFile=page%d.png", script)
    run.run(f"{safe} -sDEVICE=pdfwrite -sOutputFile=work.pdf", script)
    run.run(f"{safe} -sDEVICE=ppmraw -r100 -dNumRenderingThreads=2 -dMaxBitmap=100000 -sOutputFile=page%d.ppm work.pdf")
    run.run(f"{safe} -sDEVICE=txtwrite -sOutputFile=- work.pdf")
    run.hash("page1.png", "page2.png", "page1.ppm", "page2.ppm")


@job("imagemagick", needs="convert identify")
def imagemagick(run):
    run.run("convert -size 900x700 gradient:red-blue -swirl 200 -wave 20x120 start.png")
    for operations in ("-resize 1500x -unsharp 0x2", "-blur 0x6 -rotate 33", "-distort Arc 120 -trim",
                       "-colors 24 -dither FloydSteinberg", "-morphology Dilate Octagon:3 -edge 2",
                       "-crop 300x200 +repage -append", "-colorspace Lab -separate -combine -normalize"):
        run.run(f"convert start.png {operations} rgb:out.rgb")
        run.hash("out.rgb")
    run.run("convert start.png -quality 80 -strip x.jpg")
    run.run("convert start.png x.jpg -delay 5 -resize 200x -layers optimize x.gif")
    run.run("convert start.png -compress lzw -strip x.tif")
    run.run("identify -format", "%m %wx%h %k %[fx:mean]\n", "x.jpg", "x.gif", "x.tif")
    run.hash("x.jpg", "x.gif")


@contextlib.contextmanager
def page_server(page, limit_s):
    """Serves one page, which keeps loading until its script is done: /held is answered after /finished was asked for."""
    finished = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/finished":
                finished.set()
            elif self.path == "/held":
                finished.wait(limit_s)
                finished.clear()
            with contextlib.suppress(OSError):  # The browser may be gone.
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page if self.path == "/" else b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@job("chromium")
def chromium(run):
    """The browser brings an allocator of its own; the libraries loaded before it is up use the preloaded one."""
    browser = ("chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
               "--disable-extensions --user-data-dir=profile --window-size=800,600")
    with page_server(pathlib.Path(run.input("work.html")).read_bytes(), run.remaining()) as url:
        text = run.run(browser, "--dump-dom", url, proof="maps", show=False)
        run.note(text)
        if "<li>finished</li>" not in text:
            raise Failure(f"the script of the page did not finish:\n{text[-2000:]}")
        run.run(browser, "--screenshot=shot.png", url, proof="maps", show=False)
        run.run(browser, "--print-to-pdf=page.pdf", url, proof="maps", show=False)
    for name in "shot.png", "page.pdf":
        run.note(run.read(name)[:5], len(run.read(name)) > 5000)
