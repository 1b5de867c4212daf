"""What annuli watch answers, request by request: nothing that should not be, and
nobody waits for somebody else."""

import json
import resource
import socket
import time

from page_case import step_line, write_run
from program import ProgramCase, main
from served import PATIENCE, Watch, append, until

# By their status; {port} is the server's.
REQUESTS = {
    200: ["GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n",
          "GET /data HTTP/1.0\r\nhost:127.0.0.1:{port}\r\n\r\n",
          "HEAD / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /steps?run=0&from=1&to=3 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /data HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
          "Range: bytes=0-1,2-3,4-5\r\nExpect: 100-continue\r\n"
          "Accept-Encoding: br, gzip\r\nConnection: keep-alive\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 9\r\n\r\n"
          "some body"],
    400: ["GET /../plan.yaml HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /%2e%2e/plan.yaml HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /..%2fplan.yaml HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /data%00 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /data\0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX: a\0b\r\n\r\n",
          "GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET\r\n\r\n", "\x16\x03\x01\x02\x00\r\n\r\n", "\r\n\r\n",
          "GET / HTTP/3\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nno colon\r\n\r\n",
          "GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /events?revision=-1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /steps HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /steps?run=0&from=1&to=1e9 HTTP/1.1\r\n"
          "Host: 127.0.0.1:{port}\r\n\r\n"],
    403: ["GET / HTTP/1.1\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.example\r\n\r\n",
          "GET /data HTTP/1.1\r\nHost: 127.0.0.1:{port}.evil.example\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n"],
    404: ["GET /plan.yaml HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /training_history.jsonl HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET //etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /steps?run=1&from=1&to=3 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "GET /steps?run=99999999999&from=1&to=3 HTTP/1.1\r\n"
          "Host: 127.0.0.1:{port}\r\n\r\n"],
    405: ["POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 3\r\n\r\nabc",
          "PUT /data HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "DELETE /data HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "CONNECT a:1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"],
    431: ["GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX: " + "a" * 40000 + "\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n" + "X: a\r\n" * 9000 + "\r\n",
          "GET /" + "a" * 40000 + " HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
          "a" * 3_000_000],
}
EVENTS = ("GET /events?server=x&revision=0 HTTP/1.1\r\n"
          "Host: 127.0.0.1:{port}\r\n\r\n")


class Requests(ProgramCase):
    def setUp(self):
        super().setUp()
        self.run_folder = write_run(self.folder / "run", [
            step_line(i, 3) for i in range(1, 2000)])
        self.served = Watch(self.folder / "watch.log", self.run_folder)
        self.addCleanup(self.served.end)

    def connect(self, request=None):
        connection = socket.create_connection(("127.0.0.1", self.served.port),
                                              timeout=PATIENCE)
        self.addCleanup(connection.close)
        if request is not None:
            try:
                connection.sendall(
                    request.replace("{port}", str(self.served.port)).encode("latin-1"))
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was answered before all was sent
        return connection

    def answer(self, connection):
        """All that comes."""
        parts = []
        while True:
            try:
                part = connection.recv(1 << 16)
            except ConnectionResetError:
                break
            if not part:
                break
            parts.append(part)
        return b"".join(parts).decode("latin-1")

    def status(self, request):
        head = self.answer(self.connect(request))
        return int(head.split(" ")[1]) if head else None

    def assertServes(self):
        self.assertEqual(self.status(REQUESTS[200][0]), 200)

    def test_each_request_has_its_status(self):
        for status, requests in REQUESTS.items():
            for request in requests:
                with self.subTest(request[:90]):
                    self.assertEqual(self.status(request), status)
        self.assertServes()

    def test_headers_of_an_answer(self):
        for request in REQUESTS[200]:
            head, _, body = self.answer(self.connect(request)).partition("\r\n\r\n")
            lines = dict(line.lower().split(": ", 1)
                         for line in head.split("\r\n")[1:])
            self.assertIn("default-src 'none'", lines["content-security-policy"])
            self.assertIn("frame-ancestors 'none'", lines["content-security-policy"])
            self.assertEqual(lines["x-content-type-options"], "nosniff")
            self.assertEqual(lines["cache-control"], "no-store")
            self.assertEqual(lines["connection"], "close")
            self.assertNotIn("content-encoding", lines)
            self.assertFalse([name for name in lines if "access-control" in name])
            if request.startswith("HEAD"):
                self.assertEqual(body, "")
            else:
                self.assertEqual(len(body), int(lines["content-length"]))
        for requests in list(REQUESTS.values())[1:]:
            head, _, body = self.answer(self.connect(requests[0])).partition(
                "\r\n\r\n")
            self.assertIn("nosniff", head)
            self.assertEqual(body.count("\n"), 1)

    def test_half_open_requests_are_let_go_of(self):
        held = [self.connect(words) for words in
                ("", "GET", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: ") * 10]
        self.assertServes()
        answers = [self.answer(one) for one in held]
        self.assertTrue(all(" 408 " in one for one in answers), answers)
        self.assertServes()

    def test_a_request_that_drips_is_let_go_of(self):
        connection = self.connect("GET / HTTP/1.1\r\n")
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                connection.sendall(b"X: a\r\n")
                time.sleep(0.2)
            self.fail("it drips on")
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertServes()

    def test_slow_readers_keep_nobody_waiting(self):
        # 10 MB of answers that nobody takes.
        held = []
        for _ in range(60):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.connect(("127.0.0.1", self.served.port))
            one.sendall(REQUESTS[200][0].replace(
                "{port}", str(self.served.port)).encode())
            held.append(one)
            self.addCleanup(one.close)
        self.assertServes()
        # In the end they are let go of: what comes has not its whole length.
        held[0].settimeout(PATIENCE)
        until(lambda: self.threads() < 30, "the slow are let go of")
        self.assertServes()

    def threads(self):
        return self.number_in_status("Threads:")

    def number_in_status(self, key):
        with open(f"/proc/{self.served.process.pid}/status") as file:
            line = next(line for line in file if line.startswith(key))
        return int(line.split()[1])

    def events(self, connection):
        """The events that have come, as they come."""
        buffer = b""
        while True:
            buffer += connection.recv(1 << 16)
            if not buffer:
                return
            while b"\n\n" in buffer:
                event, _, buffer = buffer.partition(b"\n\n")
                for line in event.split(b"\n"):
                    if line.startswith(b"data: {"):
                        yield json.loads(line[6:])

    def test_fifty_who_watch_get_each_step(self):
        # Each of them one stream; the first event of each says "anew".
        streams = [self.connect(EVENTS) for _ in range(50)]
        append(self.run_folder, step_line(2000, 2))
        for one in streams:
            update = next(self.events(one))
            self.assertEqual(update["runs"][0]["steps"]["step"], [2000])
        self.assertServes()
        for one in streams:
            one.close()
        # The next changes find them gone.
        for i in range(2001, 2020):
            append(self.run_folder, step_line(i, 2))
            if self.threads() < 20:
                break
            time.sleep(1)
        self.assertLess(self.threads(), 20)

    def test_more_than_can_be_served_are_told_so(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        streams = [self.connect(EVENTS) for _ in range(150)]
        statuses = [one.recv(4096)[9:12] for one in streams]
        self.assertEqual(statuses.count(b"200"), 120)
        self.assertEqual(statuses.count(b"503"), 30)
        self.assertServes()
        held = [self.connect("GET") for _ in range(100)]
        refused = self.answer(self.connect(REQUESTS[200][0]))
        self.assertIn(" 503 ", refused)
        self.assertEqual(refused.count("\n\n") + refused.count("\r\n\r\n"), 1)
        for one in held + streams:
            one.close()
        until(lambda: self.status(REQUESTS[200][0]) == 200)

        def may_watch():
            append(self.run_folder, step_line(2000, 2))  # it finds them gone
            return self.connect(EVENTS).recv(4096)[9:12] == b"200"
        until(may_watch)

    def test_what_is_held_does_not_grow(self):
        """Readers who take nothing, while the page changes: one copy each of the
        last few changes, however many they are."""
        for _ in range(50):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.connect(("127.0.0.1", self.served.port))
            one.sendall(EVENTS.replace("{port}", str(self.served.port)).encode())
            self.addCleanup(one.close)
        before = self.number_in_status("VmRSS:")
        for i in range(5):
            append(self.run_folder, *(step_line(2000 + 500 * i + k, 2)
                                      for k in range(500)))
            time.sleep(1.1)
        grown = self.number_in_status("VmRSS:") - before
        self.assertLess(grown, 50_000, "kB")
        self.assertServes()

    def test_a_run_is_not_touched(self):
        before = {path: path.stat().st_mtime_ns for path in
                  [self.run_folder, *self.run_folder.iterdir()]}
        self.assertServes()
        now = {path: path.stat().st_mtime_ns for path in
               [self.run_folder, *self.run_folder.iterdir()]}
        self.assertEqual(now, before)
        with open(f"/proc/{self.served.process.pid}/maps") as file:
            self.assertNotIn(str(self.run_folder), file.read())


class Hosts(ProgramCase):
    def test_another_host_has_a_notice(self):
        run = write_run(self.folder / "run", [step_line(1, 3)])
        served = Watch(self.folder / "watch.log", run, "--host", "0.0.0.0")
        self.addCleanup(served.end)
        self.assertEqual(served.said().count("note: "), 1)
        self.assertIn("nothing asks for a password", served.said())
        for host, status in (("10.1.2.3", 200), ("evil.example", 403)):
            with socket.create_connection(("127.0.0.1", served.port)) as one:
                one.sendall(f"GET / HTTP/1.1\r\nHost: {host}:{served.port}\r\n\r\n"
                            .encode())
                self.assertEqual(int(one.recv(4096)[9:12]), status)


if __name__ == "__main__":
    main()
