"""Instructions of one request, counted by callgrind in the running proxy.

Requests go one after another over one connection, so that each is a read and a write of the client's and of the
member's. What N take is subtracted from what 2N take: what goes by time, or comes once, is in neither.
"""

import glob
import os
import re
import socket
import subprocess
import time

import lab

PORT = 18700
REQUESTS = 400
# Requests that connections are opened by: valgrind is slow.
WARM_MAX = 20_000
# What only workers call.
SERVES = "switchback::proxy::h1::server"
# The dump of all threads is written at the next event of each; a proxy that does nothing has some a second.
PATIENCE = 60


def sizes(row, sizes):
    """The least, and the greatest that can be asked in a time that one has."""
    return [sizes[0], max(size for size in sizes if row.covers * size <= WARM_MAX)]


def measure(row, size, binary, folder, wasm):
    """Instructions of the worker for one request, with so many of what the row says."""
    name = f"{row.name}-{size}-counted"
    out = os.path.join(folder, f"{name}.callgrind")
    under = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={out}"]
    policies = {policy: wasm for policy in row.policies(size)} if row.policies else None
    host = lab.Host(binary, folder, name, PORT, row.config(size, PORT), policies=policies, under=under)
    try:
        client = Client(PORT, row.asks, size)
        # All are asked once, and have their connections and instances, while nothing is counted.
        client.ask(int(row.covers * size) + REQUESTS)
        control(host, "instrumentation", "on")
        client.ask(REQUESTS // 4)
        dump(host, out, 1)
        client.ask(REQUESTS)
        dump(host, out, 2)
        client.ask(2 * REQUESTS)
        dump(host, out, 3)
    finally:
        host.end()
    return (of_worker(out, 3) - of_worker(out, 2)) / REQUESTS


class Client:
    """One connection."""

    def __init__(self, port, asks, size):
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asks, self.size, self.item = asks, size, 0
        self.fields = "".join(f"{name}: {value}\r\n" for name, value in lab.HEADERS.items())

    def ask(self, number):
        for _ in range(number):
            self.item = (self.item + 7919) % self.size
            # As long for each, or the last ones cost more.
            host = self.item if self.asks == "hosts" else 0
            path = self.item if self.asks == "paths" else 0
            key = f"x-key: {self.item}\r\n" if self.asks == "keys" else ""
            head = f"GET /p{path}/cart HTTP/1.1\r\nhost: v{host}.test\r\n{self.fields}{key}\r\n"
            self.connection.sendall(head.encode())
            self.answer()

    def answer(self):
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.receive()
        head, _, body = received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"expected an answer of 200, got {head.splitlines()[0]}")
        length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
        while len(body) < length:
            body += self.receive()

    def receive(self):
        some = self.connection.recv(65536)
        if not some:
            raise RuntimeError("the proxy closed the connection")
        return some


def control(host, *words):
    subprocess.run(["vgdb", f"--pid={host.process.pid}", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=PATIENCE)


def dump(host, out, number):
    control(host, "dump")
    deadline = time.monotonic() + PATIENCE
    while not glob.glob(f"{out}.{number}-*"):
        if time.monotonic() > deadline:
            raise TimeoutError("callgrind does not write what it counted")
        time.sleep(0.05)


def of_worker(out, number):
    """What the thread counted that serves clients. Others have work of their own, which may be more."""
    counted = []
    for part in glob.glob(f"{out}.{number}-*"):
        with open(part, errors="replace") as file:
            text = file.read()
        if SERVES in text:
            counted.append(int(re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE).group(1)))
        os.remove(part)
    if len(counted) != 1:
        raise RuntimeError(f"expected one thread that serves, got {len(counted)}: is the binary stripped?")
    return counted[0]
