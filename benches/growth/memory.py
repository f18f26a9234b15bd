"""What one more of something takes of the proxy's memory: connections, requests, policies' instances, releases.

Two numbers of each, and the slope between: what is there anyway is in both. Connections are opened from many addresses
of 127.0.0.0/8, as one address has no more than 28,000 ports.
"""

import os
import socket
import ssl
import struct
import subprocess
import threading

import lab
import rows

PORT = 18800
# What is in the first of these sees to it that tables have grown.
SOME, MORE = 500, 1500
STREAMS = 100
HOLDER_PORT = 18490

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = ("GET / HTTP/1.1\r\nhost: v0.test\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lab.HEADERS.items())).encode()
REQUEST = HEAD + b"\r\n"
# 60 KiB of a head that never ends; 64 KiB are allowed.
HALF_HEAD = HEAD + b"".join(b"x-%d: %s\r\n" % (n, b"a" * 1016) for n in range(59))

CONFIG = """
[listeners.plain]
address = "127.0.0.1:{port}"
connections_max = 100000
head_timeout = "10m"
idle_timeout = "10m"
[listeners.secure]
address = "127.0.0.1:{secure}"
certificates = [{{ cert = "cert.pem", key = "key.pem" }}]
connections_max = 100000
head_timeout = "10m"
idle_timeout = "10m"
[vips.v0]
listen = ["plain", "secure"]
paths = ["/"]
pool = "blue"
[vips.held]
listen = ["plain", "secure"]
paths = ["/held"]
pool = "held"
[pools.blue]
members = ["{member}"]
[pools.held]
members = ["127.0.0.1:{holder}"]
response_timeout = "10m"
"""


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    # HPACK, a literal without indexing: short names and values only.
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def h2_head(stream, path):
    block = b"\x82\x86" + field(b":path", path) + field(b":authority", b"v0.test")
    block += b"".join(field(name.lower().encode(), value.encode()[:120]) for name, value in lab.HEADERS.items())
    # END_HEADERS and END_STREAM.
    return frame(1, 5, stream, block)


class Holder(threading.Thread):
    """A member that takes requests and never answers."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", HOLDER_PORT), backlog=4096)
        self.held = []

    def run(self):
        while True:
            try:
                self.held.append(self.socket.accept()[0])
            except OSError:
                return

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        for connection in self.held:
            connection.close()
        self.socket.close()


class Lab:
    """A proxy with a plain and a TLS listener, and the connections to it."""

    def __init__(self, arguments, folder, name, workers=1):
        self.port, self.connections = PORT, []
        certificate(folder)
        config = CONFIG.format(port=PORT, secure=PORT + 2, member=rows.address(0), holder=HOLDER_PORT)
        for file in ("cert.pem", "key.pem"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
            with open(os.path.join(folder, file), "rb") as read, open(os.path.join(folder, name, file), "wb") as written:
                written.write(read.read())
        self.host = lab.Host(arguments.binary, folder, name, PORT, config, workers=workers)
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.tls_h2 = ssl.create_default_context()
        self.tls_h2.check_hostname, self.tls_h2.verify_mode = False, ssl.CERT_NONE
        self.tls_h2.set_alpn_protocols(["h2"])

    def open(self, secure=None):
        number = len(self.connections)
        source = (f"127.0.{1 + number // 20000}.1", 0)
        connection = socket.create_connection(("127.0.0.1", PORT + 2 if secure else PORT), source_address=source, timeout=30)
        if secure:
            connection = secure.wrap_socket(connection, server_hostname="v0.test")
        self.connections.append(connection)
        return connection

    def end(self):
        for connection in self.connections:
            connection.close()
        self.host.end()


def certificate(folder):
    if os.path.exists(os.path.join(folder, "cert.pem")):
        return
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                    "key.pem", "-out", "cert.pem", "-subj", "/CN=v0.test", "-addext", "subjectAltName=DNS:v0.test", "-days", "30"],
                   cwd=folder, check=True, stderr=subprocess.DEVNULL)


def read_h1(connection):
    received = b""
    while not received.endswith(b"ok\n"):
        some = connection.recv(65536)
        if not some:
            raise RuntimeError(f"expected an answer, got {received[:60]}")
        received += some


def read_h2(connection):
    """Until a stream has ended."""
    received = b""
    while True:
        while len(received) >= 9:
            length = int.from_bytes(received[:3], "big")
            if len(received) < 9 + length:
                break
            kind, flags = received[3], received[4]
            received = received[9 + length:]
            if kind in (0, 1) and flags & 1:
                return
            if kind == 7:
                raise RuntimeError("expected an answer, got GOAWAY")
        some = connection.recv(65536)
        if not some:
            raise RuntimeError("expected an answer, got the end")
        received += some


def idle_h1(it):
    it.open()


def served_h1(it):
    connection = it.open()
    connection.sendall(REQUEST)
    read_h1(connection)


def served_tls(it):
    connection = it.open(it.tls)
    connection.sendall(REQUEST)
    read_h1(connection)


def begun_h2(it, secure=None):
    connection = it.open(secure)
    connection.sendall(PREFACE + frame(4, 0, 0) + frame(4, 1, 0) + h2_head(1, b"/"))
    read_h2(connection)
    return connection


def served_h2(it):
    begun_h2(it)


def served_h2_tls(it):
    begun_h2(it, it.tls_h2)


def half_head(it):
    it.open().sendall(HALF_HEAD)


def held_h1(it):
    it.open().sendall(REQUEST.replace(b"GET /", b"GET /held"))


def held_tls(it):
    it.open(it.tls).sendall(REQUEST.replace(b"GET /", b"GET /held"))


def held_h2(it):
    connection = begun_h2(it)
    connection.sendall(b"".join(h2_head(3 + 2 * stream, b"/held") for stream in range(STREAMS)))


# What, how one is made, and how many that is.
CASES = [
    ("idle connection, HTTP/1, nothing sent yet", idle_h1, 1),
    ("idle connection, HTTP/1, after a request", served_h1, 1),
    ("idle connection, HTTP/1 over TLS, after a request", served_tls, 1),
    ("idle connection, HTTP/2, after a request", served_h2, 1),
    ("idle connection, HTTP/2 over TLS, after a request", served_h2_tls, 1),
    ("connection with 60 KiB of a head, HTTP/1", half_head, 1),
    ("active request, HTTP/1, with its connection and the member's", held_h1, 1),
    ("active request, HTTP/1 over TLS, with both connections", held_tls, 1),
    ("active request, HTTP/2, one of 100 streams, with the member's connection", held_h2, STREAMS),
]


def connections(arguments, folder):
    """Bytes for each of the cases."""
    measured = []
    holder = Holder()
    holder.start()
    some, more = (100, 300) if arguments.short else (SOME, MORE)
    try:
        for number, (what, make, each) in enumerate(CASES):
            it = Lab(arguments, folder, f"memory-{number}")
            try:
                before, at = it.host.calm(), []
                for upto in (some, more):
                    while len(it.connections) * each < upto:
                        make(it)
                    at.append((it.host.calm(), len(it.connections) * each))
                (first, few), (second, many) = at
                measured.append({"what": what, "bytes": (second - first) / (many - few), "first_bytes": (first - before) / few,
                                 "of": [few, many]})
            finally:
                it.end()
    finally:
        holder.end()
    return measured


def instances(arguments, folder, wasm):
    """Bytes for each policy of one build, its vip included; and what of it is an instance, which each worker has."""
    few, many = (10, 60) if arguments.short else (50, 200)

    def each(workers):
        at = [with_policies(arguments, folder, f"instances-{workers}-{number}", dict.fromkeys(rows.names(number), wasm), workers)
              for number in (few, many)]
        return (at[1] - at[0]) / (many - few)

    one, two = each(1), each(2)
    return {"of": [few, many], "policy_one_worker": one, "policy_two_workers": two, "instance": two - one}


def builds(arguments, folder, wasm):
    """Bytes for each build of its own, with its policy: its compiled code is not shared."""
    few, many = (2, 6) if arguments.short else (4, 20)
    at = [with_policies(arguments, folder, f"builds-{number}", {name: with_section(wasm, name) for name in rows.names(number)})
          for number in (few, many)]
    return {"of": [few, many], "build": (at[1] - at[0]) / (many - few)}


def with_policies(arguments, folder, name, policies, workers=1):
    """What a proxy takes that found its policies in its state folder, and has asked each."""
    config = rows.policies(len(policies), PORT)
    host = lab.Host(arguments.binary, folder, name, PORT, config, workers=workers, policies=policies, cores=lab.ALL_CORES)
    try:
        host.resume()
        for _ in range(workers):
            lab.Wrk(folder).run(PORT, 1, hosts=len(policies))
        return host.calm()
    finally:
        host.end()


def with_section(wasm, text):
    """The same policy as another build: a section that nobody reads makes another digest."""
    name, content = b"build", text.encode()
    payload = bytes([len(name)]) + name + content
    return wasm + b"\x00" + bytes([len(payload)]) + payload
