"""The load: what is asked, by which program, and what it said.

Requests are those of a browser, eight fields each. Of four, two go where the cookie says, one where the path says, and one
has no such cookie. For HTTP/2 it is two, by the path alone: h2load has one set of fields for all its requests.
"""

import os
import re
import subprocess
import time

from lab import BODIES, LOAD_CORE, PROXY_CORE, on_core

CONNECTIONS = 64
# 64 in flight, as over HTTP/1.1.
HTTP2_CONNECTIONS, HTTP2_STREAMS = 8, 8
WARM_UP_SECONDS = 1

FIELDS = {
    "Host": "shop.test",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "http://shop.test/",
    "Upgrade-Insecure-Requests": "1",
}
COOKIE = "uid=7f3a9c21d04b; {}; lang=en"
REQUESTS = [("/shop/cart?id=7", "pool=green"), ("/shop/cart?id=7", "pool=blue"),
            ("/beta/cart?id=7", "pool=blue"), ("/shop/cart?id=7", "theme=dark")]

# They are made once and sent in turn: a script costs the load core a few hundred ns, and the proxy's core nothing.
WRK = """
local requests = {{ {requests} }}
local at = 0
function request()
  at = at % #requests + 1
  return requests[at]
end
"""


# All proxies speak the same: what else they would choose from is left out of the offer.
OPENSSL = """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = offer
[offer]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""


class LoadFailed(Exception):
    """Answers that should not have been."""


def heads():
    """Each request as it is sent."""
    return [f"GET {target} HTTP/1.1\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in (FIELDS | {"Cookie": COOKIE.format(cookie)}).items())
            + "\r\n" for target, cookie in REQUESTS]


def closed(lab, peer, table, seconds):
    """A closed loop after a warm-up: requests, seconds, and the proxy's CPU time for one."""
    run = h2load if table == "http2" else wrk
    run(lab, peer, table, WARM_UP_SECONDS)
    connections, asked = lab.member_counts()
    scale = Scale(peer)
    requests, took = run(lab, peer, table, seconds)
    figures = scale.figures(requests)
    connections, asked = (after - before for after, before in zip(lab.member_counts(), (connections, asked)))
    # Each request is to reach a member, and few are to open a connection: else another work was done than is told. As many as
    # there are clients may be opened for each pool, by those who let go of some between two runs.
    if asked < requests or connections > max(requests / 20, len(lab.pools) * CONNECTIONS):
        raise LoadFailed(f"of {requests} requests {asked} reached a member, over {connections} new connections")
    return {
        "requests": requests, "member_connections": connections,
        "seconds": round(took, 3), "per_second": round(requests / took),
    } | figures


class Scale:
    """What the proxy needs from now on, and what both cores do."""

    def __init__(self, peer):
        self.peer, self.began = peer, time.monotonic()
        self.cores, self.cpu = core_busy(), peer.cpu_seconds()

    def figures(self, requests):
        user, system = (after - before for after, before in zip(self.peer.cpu_seconds(), self.cpu))
        wall, cores = time.monotonic() - self.began, core_busy()
        proxy, load = ((cores[core] - self.cores[core]) / wall for core in (PROXY_CORE, LOAD_CORE))
        return {
            "cpu_micros": round((user + system) / requests * 1e6, 2),
            "user_micros": round(user / requests * 1e6, 2), "system_micros": round(system / requests * 1e6, 2),
            # Which of the two cores was the limit.
            "proxy_core_busy": round(proxy, 3), "load_core_busy": round(load, 3),
            # Noise: what the proxy's core did for somebody else meanwhile.
            "foreign": round(max(0, proxy - (user + system) / wall), 3),
        }


def wrk(lab, peer, table, seconds):
    port, scheme = (peer.tls_port, "https") if table == "tls" else (peer.port, "http")
    requests = ",\n".join('"' + head.replace("\r\n", "\\r\\n") + '"' for head in heads())
    script = peer.write("mix.lua", WRK.format(requests=requests))
    said = output([lab.tools["wrk"], "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script,
                   f"{scheme}://127.0.0.1:{port}/"], {"OPENSSL_CONF": peer.write("openssl.cnf", OPENSSL)})
    if wrong := re.search(r"Socket errors.*|Non-2xx.*", said):
        raise LoadFailed(f"wrk says: {wrong[0].strip()}")
    done, took, unit = re.search(r"(\d+) requests in ([\d.]+)(m?s)", said).groups()
    return int(done), float(took) / (1000 if unit == "ms" else 1)


def h2load(lab, peer, _, seconds):
    uris = peer.write("uris", "".join(f"http://127.0.0.1:{peer.http2_port}{target}\n"
                                      for target in ("/shop/cart?id=7", "/beta/cart?id=7")))
    command = [lab.tools["h2load"], "-t1", f"-c{HTTP2_CONNECTIONS}", f"-m{HTTP2_STREAMS}", "-D", str(seconds), "-i", uris]
    # The authority comes from the URI.
    for name, value in (FIELDS | {"Cookie": COOKIE.format("pool=blue")}).items():
        if name != "Host":
            command += ["-H", f"{name.lower()}: {value}"]
    began = time.monotonic()
    said = output(command)
    took = time.monotonic() - began
    done, succeeded, failed, errored = map(int, re.search(
        r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", said).groups())
    # Those in flight when time was up are `failed` for some versions; none of them has an answer that is wrong.
    if not succeeded or succeeded < done - HTTP2_CONNECTIONS * HTTP2_STREAMS:
        raise LoadFailed(f"h2load says: {done} done, {succeeded} succeeded, {failed} failed, {errored} errored")
    finished = re.search(r"finished in ([\d.]+)(m?s)", said)
    if finished:
        took = float(finished[1]) / (1000 if finished[2] == "ms" else 1)
    return succeeded, took


def steady(lab, peer, rate, seconds):
    """An open loop at a constant rate: a request's time counts from when it was due, whenever it could be sent."""
    steady_run(lab, peer, rate, WARM_UP_SECONDS)
    scale = Scale(peer)
    lines = steady_run(lab, peer, rate, seconds)
    figures = scale.figures(len(lines))
    times = sorted(int(line[1]) for line in lines)
    failed = sum(line[4] != "ok" for line in lines)
    # One that does not bear the rate is late by more and more; it has no latency, only a queue.
    last = [int(line[1]) for line in lines[-len(lines) // 10:]]
    return {
        "rate": rate, "requests": len(times), "failed": failed,
        "bears_it": failed == 0 and sorted(last)[len(last) // 2] < 100_000,
    } | figures | {f"{name}_micros": times[min(len(times) - 1, int(part * len(times)))]
         for name, part in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1))}


def steady_run(lab, peer, rate, seconds):
    requests, found = peer.write("requests", "".join(heads())), os.path.join(peer.folder, "steady.tsv")
    length = len(BODIES["blue"])
    output([lab.tools["load"], f"127.0.0.1:{peer.port}", str(rate), str(seconds), str(CONNECTIONS), "steady",
            str(length), requests, found])
    with open(found) as file:
        lines = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
    os.remove(found)
    return lines


def output(command, environment=None):
    done = subprocess.run(on_core(LOAD_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=os.environ | (environment or {}))
    if done.returncode != 0:
        raise LoadFailed(f"{os.path.basename(command[0])} ended with {done.returncode}: {done.stdout[-300:]}")
    return done.stdout


def core_busy():
    """Seconds that each core has worked so far, for whomever."""
    ticks = os.sysconf("SC_CLK_TCK")
    busy = {}
    with open("/proc/stat") as file:
        for line in file:
            if found := re.match(r"cpu(\d+) (.*)", line):
                spent = list(map(int, found[2].split()))
                # Idle and waiting for disks are no work; guests are in `user` already.
                busy[int(found[1])] = (sum(spent[:3]) + sum(spent[5:8])) / ticks
    return busy
