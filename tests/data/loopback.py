"""A server on the loopback address that can stop in the middle of a file."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serve files and remember what was asked for.

    Args:
        files: Path of the address, without the leading slash, to content.
        stall: The number of bytes after which each of the first answers stops, until the client
            goes away; one number an answer.
        cut: The same, but the connection is closed.
        ranges: Whether the server can continue a file.
    """

    def __init__(self, files, stall=(), cut=(), ranges=True):
        self.asked = []  # (path, first byte)
        stops, server = [*((n, True) for n in stall), *((n, False) for n in cut)], self
        self.released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                content = files.get(self.path.lstrip("/"))
                if content is None:
                    self.send_error(404)
                    return
                asked = self.headers.get("Range") if ranges else None
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                server.asked.append((self.path.lstrip("/"), start))
                if start >= len(content) > 0:
                    self.send_error(416)
                    return
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                count, waits = stops.pop(0) if stops else (len(content), False)
                self.wfile.write(content[start : start + count])
                self.wfile.flush()
                if waits:
                    server.released.wait(60)

            def log_message(self, *args):
                pass  # the requests are in `asked`

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
