"""The members: real nginx, each a master and a worker of its own, that can be told to go wrong while it runs.

What goes wrong in an answer is switched by files that nginx looks for on each request: a reload would close kept
connections, and that is another failure than the one to be measured. Two things nginx cannot do by itself: `Liar` stands
behind a member and breaks its answers off, `Resetter` stands in front of one and resets connections.
"""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import threading
import time

PORT = 18080
BEHIND_RESETTER = 18081
LIAR_PORT = 18099
LENGTH = 1024
SLOW_SECONDS = 0.3
SILENT_SECONDS = 3

NGINX = """
load_module {modules}/ngx_http_echo_module.so;
daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  log_format attempt '$msec $status $request_time $request_uri';
  access_log {folder}/access.log attempt;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  keepalive_timeout {keep_alive}; keepalive_requests 1000000; tcp_nodelay on;
  server {{
    listen {address}:{port} backlog=4096;
    add_header X-Member {number} always;
    location = /check {{
      access_log off;
      if (-f {folder}/check-500) {{ return 500; }}
      if (-f {folder}/check-silent) {{ rewrite ^ /silent last; }}
      return 200 "ok\\n";
    }}
    location / {{
      if (-f {folder}/500) {{ return 500; }}
      if (-f {folder}/slow) {{ rewrite ^ /slow last; }}
      if (-f {folder}/silent) {{ rewrite ^ /silent last; }}
      if (-f {folder}/lie) {{ rewrite ^ /lie last; }}
      return 200 "{content}";
    }}
    location = /slow {{ echo_sleep {slow}; echo_exec @good; }}
    location = /silent {{ echo_sleep {silent}; echo_exec @good; }}
    location = /lie {{ proxy_pass http://127.0.0.1:{liar}; }}
    location @good {{ return 200 "{content}"; }}
  }}
}}
"""


class Member:
    def __init__(self, folder, number):
        self.number = number
        self.address = f"127.0.0.{10 + number}"
        self.folder = os.path.join(folder, f"member{number}")
        os.makedirs(self.folder)
        self.process = None

    def start(self, port=PORT, keep_alive="75s"):
        text = NGINX.format(
            modules=os.environ.get("NGINX_MODULES", "/usr/lib/nginx/modules"), folder=self.folder,
            address=self.address, number=self.number, port=port, content="x" * (LENGTH - 1) + "\\n",
            slow=SLOW_SECONDS, silent=SILENT_SECONDS, liar=LIAR_PORT, keep_alive=keep_alive)
        conf = os.path.join(self.folder, "nginx.conf")
        with open(conf, "w") as file:
            file.write(text)
        with open(os.path.join(self.folder, "stderr"), "a") as err:
            self.process = subprocess.Popen(["nginx", "-p", self.folder, "-e", f"{self.folder}/error.log", "-c", conf],
                                            start_new_session=True, stderr=err)
        wait_for_port(self.address, port)

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def kill(self):
        if self.process:
            # A stopped process that is killed is gone as well.
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def set(self, *modes):
        for mode in modes:
            open(os.path.join(self.folder, mode), "w").close()

    def unset(self, *modes):
        for mode in modes:
            os.remove(os.path.join(self.folder, mode))


def wait_for_port(address, port, limit=10):
    """Until somebody listens there; without connecting, which would be seen on the wire."""
    listening = f" {socket.inet_aton(address)[::-1].hex().upper()}:{port:04X} 00000000:0000 0A "
    deadline = time.time() + limit
    while True:
        with open("/proc/net/tcp") as sockets:
            if listening in sockets.read():
                return
        if time.time() > deadline:
            raise TimeoutError(f"nobody listens at {address}:{port}")
        time.sleep(0.005)


class Served(threading.Thread):
    """Something of asyncio on a thread of its own."""

    def __init__(self):
        super().__init__(daemon=True)
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.serve())
        self.ready.set()
        self.loop.run_forever()

    def begin(self):
        self.start()
        self.ready.wait(10)
        return self

    def end(self):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(5)


class Liar(Served):
    """Says 1,024 bytes, sends half of them, and ends the connection."""

    async def serve(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", LIAR_PORT, backlog=1024)

    async def answer(self, reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH + b"x" * (LENGTH // 2))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()


class Resetter(Served):
    """Passes connections on to a member; every tenth is reset as soon as it brings a request."""

    def __init__(self, member):
        super().__init__()
        self.member = member
        self.resets = False
        self.count = 0

    async def serve(self):
        self.server = await asyncio.start_server(self.relay, self.member.address, PORT, backlog=4096)

    async def relay(self, reader, writer):
        there = None
        try:
            first = await reader.read(65536)
            # Probes are spared: it is requests that are to meet it.
            if self.resets and b" /check" not in first:
                self.count += 1
                if self.count % 10 == 0:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                    return
            answer, there = await asyncio.open_connection(self.member.address, BEHIND_RESETTER)
            there.write(first)
            await asyncio.gather(pass_on(reader, there), pass_on(answer, writer))
        except OSError:
            pass
        finally:
            writer.close()
            if there:
                there.close()


async def pass_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
