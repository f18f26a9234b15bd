"""What stands around a measurement: a real proxy, a real nginx that is all of its members, and wrk.

The proxy has core 0 to itself; members and load are on core 1. Where there is one core only, nothing is pinned.
"""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

PROXY_CORES, LOAD_CORES, ALL_CORES = {0}, {1}, {0, 1}
FILES_MAX = 200_000
# Whatever address of 127.0.0.0/8 and this port: one nginx.
MEMBER_PORT = 18480
CONNECTIONS = 64

HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "uid=3f8a91c2; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}

NGINX = """
daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/error.log;
worker_rlimit_nofile {files};
events {{ worker_connections 65536; }}
http {{
  access_log off; keepalive_timeout 1h; keepalive_requests 100000000; tcp_nodelay on;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 0.0.0.0:{port} backlog=4096; location / {{ return 200 "ok\\n"; }} }}
}}
"""

# The requests are made once, and each is the next of them: what is measured differs in nothing but what is asked for.
WRK = """
local hosts, paths, keys, at, requests = {hosts}, {paths}, {keys}, {first}, {{}}
local many = math.max(hosts, paths, keys)
function init()
  for item = 0, many - 1 do
    wrk.headers["Host"] = hosts > 1 and "v" .. item .. ".test" or "v0.test"
    if keys > 1 then wrk.headers["X-Key"] = tostring(item) end
    requests[item] = wrk.format("GET", paths > 1 and "/p" .. item .. "/cart" or "/p0/cart")
  end
end
function request()
  at = (at + 1) % many
  return requests[at]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
"""


def raise_limits():
    """Some rows have 10,000 connections on each of three sides."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for files in (FILES_MAX, hard):
        try:
            return resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(files, hard)))
        except (ValueError, OSError):
            continue


def pinned(cores):
    if os.cpu_count() == 1:
        return None
    return lambda: os.sched_setaffinity(0, cores)


def address(item):
    """The address of a member: one of a thousand times a thousand."""
    return f"127.{1 + item // 62500}.{item // 250 % 250}.{1 + item % 250}:{MEMBER_PORT}"


class Nginx:
    """All members there are."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "nginx")
        os.makedirs(self.folder)
        conf = os.path.join(self.folder, "nginx.conf")
        with open(conf, "w") as file:
            file.write(NGINX.format(folder=self.folder, port=MEMBER_PORT, files=FILES_MAX))
        self.process = subprocess.Popen(["nginx", "-p", self.folder, "-e", f"{self.folder}/error.log", "-c", conf],
                                        start_new_session=True, preexec_fn=pinned(LOAD_CORES))
        wait_for_port("0.0.0.0", MEMBER_PORT)
        # Somebody else's has this port, and would be gone in the middle.
        if self.process.poll() is not None:
            raise RuntimeError(f"nginx does not run, see {self.folder}/error.log")

    def pin(self, cores):
        """Its processes, from now on."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
            for process in (self.process.pid, *map(int, children.read().split())):
                os.sched_setaffinity(process, cores)

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Host:
    """A Switchback in a folder of its own. It listens where `port` says, its API a port above."""

    def __init__(self, binary, folder, name, port, config, workers=1, cores=None, policies=None, under=(), limit=240):
        self.folder, self.port, self.workers = os.path.join(folder, name), port, workers
        os.makedirs(os.path.join(self.folder, "policies"))
        for policy, wasm in (policies or {}).items():
            with open(os.path.join(self.folder, "policies", f"{policy}.wasm"), "wb") as file:
                file.write(wasm)
        with open(os.path.join(self.folder, "switchback.toml"), "w") as file:
            file.write(f'workers = {workers}\n[control]\nlisten = "127.0.0.1:{port + 1}"\n{config}')
        self.command = [*under, binary, "--config", "switchback.toml", "run"]
        self.cores, self.limit = cores or PROXY_CORES, limit
        self.start()

    def start(self):
        self.log = open(os.path.join(self.folder, "log"), "a")
        began = time.monotonic()
        self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=self.log, stderr=self.log,
                                        env=os.environ | {"SWITCHBACK_LOG": "warn"}, preexec_fn=pinned(self.cores))
        try:
            self.wait_until_ready(began + self.limit)
        except BaseException:
            self.end()
            raise
        self.started_in = time.monotonic() - began

    def resume(self):
        """Again from what it kept, without what reading the folder left in its heap."""
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(os.path.join(self.folder, "policies"))
        self.start()

    def wait_until_ready(self, deadline):
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the proxy does not serve, see {self.folder}/log")
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{self.port + 1}/ready", timeout=60).read()
            except OSError:
                time.sleep(0.02)

    def call(self, method, path, body=None):
        """The answer, and how long it took in milliseconds, from before connecting."""
        return self.send(method, path, json.dumps(body or {}).encode())

    def upload(self, policy, wasm):
        """The same of a build of a policy."""
        return self.send("PUT", f"/v1/policies/{policy}", wasm)

    def send(self, method, path, body):
        with open(os.path.join(self.folder, "state", "control.token")) as file:
            token = file.read().strip()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port + 1}{path}", method=method, data=body, headers={
            "Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        began = time.perf_counter()
        try:
            answer = json.load(urllib.request.urlopen(request, timeout=120))
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        return answer, (time.perf_counter() - began) * 1000

    def cpu_nanos(self):
        """Of the workers, and of all other threads. Those that have ended are not counted: few do."""
        task, spent = f"/proc/{self.process.pid}/task", [0, 0]
        for thread in os.listdir(task):
            try:
                with open(f"{task}/{thread}/comm") as comm, open(f"{task}/{thread}/schedstat") as schedstat:
                    spent[not comm.read().startswith("worker-")] += int(schedstat.read().split()[0])
            except OSError:
                pass
        return spent

    def memory(self):
        """Bytes: resident; of that the proxy's own, not mapped from files; its proportional part of what is shared."""
        kib = {}
        for file in ("status", "smaps_rollup"):
            with open(f"/proc/{self.process.pid}/{file}") as lines:
                kib |= {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "RssAnon", "Pss:"))}
        return {"rss": kib["VmRSS:"] * 1024, "own": kib["RssAnon:"] * 1024, "pss": kib["Pss:"] * 1024}

    def own(self):
        return self.memory()["own"]

    def calm(self, patience=5):
        """Its own memory, once that no longer moves: what a switch leaves to be done is done in its own time."""
        deadline, last = time.monotonic() + patience, self.own()
        while time.monotonic() < deadline:
            time.sleep(0.3)
            now = self.own()
            if abs(now - last) < 16 * 1024:
                return now
            last = now
        return last

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        # 10,000 policies are 10,000 files, and a journal may be large.
        shutil.rmtree(os.path.join(self.folder, "policies"), ignore_errors=True)
        shutil.rmtree(os.path.join(self.folder, "state"), ignore_errors=True)


class Wrk:
    """`wrk -t1 -c64`: closed loop, requests to as many hosts, paths or keys in turn."""

    def __init__(self, folder):
        self.script, self.turn = os.path.join(folder, "wrk.lua"), 0

    def run(self, port, seconds, hosts=1, paths=1, keys=1, cores=None):
        self.turn += 1
        with open(self.script, "w") as file:
            # Not always from the first on: a short run would never come to the last ones.
            first = self.turn * 7919 % max(hosts, paths, keys)
            file.write(WRK.format(hosts=hosts, paths=paths, keys=keys, first=first))
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", self.script, "--latency"]
        command += [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
        out = subprocess.run([*command, f"http://127.0.0.1:{port}/"], check=True, stdout=subprocess.PIPE, text=True,
                             preexec_fn=pinned(cores or LOAD_CORES)).stdout
        requests, micros, p50, p99, *failed = map(int, re.search(r"RESULT (.*)", out).group(1).split())
        return {"requests": requests, "per_second": requests / (micros / 1e6), "p50_micros": p50, "p99_micros": p99,
                "failed": sum(failed), "failed_how": dict(zip(("connect", "read", "write", "timeout", "status"), failed))}


def wait_for_port(at, port, limit=20):
    """Until somebody listens there; without connecting."""
    listening = f" {socket.inet_aton(at)[::-1].hex().upper()}:{port:04X} 00000000:0000 0A "
    deadline = time.monotonic() + limit
    while True:
        with open("/proc/net/tcp") as sockets:
            if listening in sockets.read():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody listens at {at}:{port}")
        time.sleep(0.01)
