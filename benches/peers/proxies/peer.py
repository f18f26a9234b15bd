"""What all proxies have in common: they are started on their core, asked, weighed and stopped.

Each is told the same in its own words, as far as it has words for it:

- one worker, on core 0; no access log; its own metrics on
- pool green where the path begins with `/beta/`, or else the cookie `pool` is `green`; otherwise blue
- members at `self.pools`, over HTTP/1.1 on connections that are kept, as many as there are clients
- clients' connections are kept for any number of requests
- nothing else that it does not do unless it is told: no fields added, no checks, no retries, no limits
"""

import http.client
import os
import signal
import ssl
import subprocess
import time

from lab import BODIES, PROXY_CORE, on_core

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

# What each proxy is asked before it is measured: target, cookie, who has to answer.
QUESTIONS = [
    ("/", None, "blue"),
    ("/", "pool=green", "green"),
    ("/", "pool=blue", "blue"),
    ("/shop/cart?id=7", "uid=7f3a; pool=green; theme=dark", "green"),
    ("/shop/cart?id=7", "uid=7f3a; theme=dark; pool=blue", "blue"),
    # A cookie whose name or value only ends or begins like it.
    ("/", "xpool=green", "blue"),
    ("/", "pool=greenish", "blue"),
    ("/beta/cart", None, "green"),
    ("/beta/cart", "pool=blue", "green"),
    ("/betamax", None, "blue"),
    ("/shop/beta/", None, "blue"),
]


class Peer:
    # How it is called in tables, and by `--rows`.
    name = ""
    title = ""
    # What decides, in a few words.
    decides_by = ""
    # Programs and files it cannot do without, of `lab.tools`.
    needs = ()
    # What clients may speak: `http1`, `http2` (by prior knowledge), `tls` (HTTP/1.1).
    speaks = ("http1",)
    # Why it does not speak the rest, for the table.
    speaks_not = ""

    def __init__(self, lab):
        self.lab = lab
        self.pools = dict(lab.pools)
        self.port, self.tls_port, self.http2_port = lab.port(0), lab.port(1), lab.port(2)
        # For metrics and control, where it has them on a port.
        self.admin_port = lab.port(3)
        self.folder = None
        self.process = None

    @property
    def address(self):
        return "127.0.0.1", self.port

    def configure(self):
        """Writes what it needs into `self.folder`; the command that runs it in the foreground."""
        raise NotImplementedError

    def start(self):
        """Serves, and decides as it should, once this is back."""
        self.folder = self.lab.new_folder(self.name)
        command = on_core(PROXY_CORE, self.configure())
        with open(os.path.join(self.folder, "log"), "a") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=self.environment(),
                                            start_new_session=True)
        try:
            self.wait_until_it_serves()
            self.check()
        except BaseException:
            self.stop()
            raise

    def environment(self):
        return dict(os.environ)

    def wait_until_it_serves(self, limit=30):
        deadline, wrong = time.monotonic() + limit, "nothing yet"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} has ended: {self.last_words()}")
            wrong = self.first_wrong_answer(self.ask)
            if wrong is None:
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not serve as it should: {wrong}; {self.last_words()}")

    def last_words(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as log:
            return log.read()[-600:].strip() or "no log"

    def check(self, speech="http1"):
        """Whether it chooses by cookie and by path; an error if not."""
        ask = {"tls": self.ask_by_tls, "http2": self.ask_by_http2}.get(speech, self.ask)
        wrong = self.first_wrong_answer(ask)
        if wrong is not None:
            raise RuntimeError(f"{self.name} {wrong}")

    def first_wrong_answer(self, ask):
        for target, cookie, pool in self.questions():
            try:
                status, body = ask(target, {"Cookie": cookie} if cookie else {})
            except (OSError, http.client.HTTPException) as error:
                return f"does not answer: {error!r}"
            if status != 200 or body != BODIES[pool]:
                return f"answers {target} with cookie {cookie} by {status} {body!r}, expected {pool}"
        return None

    def questions(self):
        return QUESTIONS

    def ask(self, target="/", fields=None, port=None):
        """Status and body, on a connection of its own."""
        return answer(http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=5), target, fields)

    def ask_by_tls(self, target, fields):
        # Who signed the certificate is not the question here.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return answer(http.client.HTTPSConnection("127.0.0.1", self.tls_port, timeout=5, context=context), target, fields)

    def ask_by_http2(self, target, fields):
        """By prior knowledge; of the status no more is known than that it was good, or there would be another body."""
        command = [self.lab.tools["nghttp"], f"http://127.0.0.1:{self.http2_port}{target}", "-t", "5"]
        for name, value in fields.items():
            command += ["-H", f"{name}: {value}"]
        return 200, subprocess.run(command, capture_output=True, text=True).stdout

    def stop(self):
        if self.process is None:
            return
        pids = self.pids()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # Children of one that had to be killed, or of one that leaves them behind: those of its session, as a number may be
        # another process's by now.
        for pid in pids[1:]:
            fields = stat(pid)
            if fields and fields[3] == str(pids[0]):
                os.kill(pid, signal.SIGKILL)
        self.process = None

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def member(self, pool):
        """`127.0.0.1:19010`."""
        return "{}:{}".format(*self.pools[pool])

    def pids(self):
        """The process that was started, then its children and theirs."""
        parents = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            fields = stat(pid)
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(pid))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def cpu_seconds(self):
        """User and system, of all its processes and threads, those that have ended too."""
        user = system = 0
        for pid in self.pids():
            fields = stat(pid)
            if fields:
                # A child that has ended and was waited for is its parent's `cutime`.
                user += int(fields[11]) + int(fields[13])
                system += int(fields[12]) + int(fields[14])
        return user / TICKS, system / TICKS

    def resident_bytes(self):
        """Of all its processes; what they share counts once (proportional set size)."""
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024
            except (OSError, StopIteration):
                pass
        return total


def answer(connection, target, fields):
    """Status and body; the connection is closed."""
    try:
        connection.request("GET", target, headers={"Host": "shop.test"} | (fields or {}))
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


def stat(pid):
    """The fields of `/proc/PID/stat` from the state on; none if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
