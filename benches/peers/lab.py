"""Where the measuring happens: two cores, two members, ports, and the programs that there are.

The proxy has core 0 for itself; members and load share core 1. So the proxy is what a closed loop saturates, and what it
needs for a request is what its own process accounting says.
"""

import http.client
import os
import shutil
import socket
import subprocess
import time

PROXY_CORE, LOAD_CORE = 0, 1
# One of each base is asked for all its ports, so that two runs beside each other do not meet.
PORT_BASES = range(19000, 29000, 100)
# What a member answers, by its pool. Of one length, so that a load program can check answers by it.
BODIES = {"blue": "blue!\n", "green": "green\n"}

MEMBERS = """
daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; default_type text/plain;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  keepalive_timeout 75s; keepalive_requests 1000000000; tcp_nodelay on;
{servers}
  server {{ listen 127.0.0.1:{counts}; location / {{ stub_status; }} }}
}}
"""
MEMBER = '  server {{ listen {address}:{port} backlog=4096; location / {{ return 200 "{body}\\n"; }} }}'


class Lab:
    def __init__(self, folder, tools):
        """`tools`: paths of programs and files by name, see install.py."""
        self.folder = os.path.abspath(folder)
        os.makedirs(self.folder, exist_ok=True)
        # Members and some proxies go on as another user.
        os.chmod(self.folder, 0o755)
        self.tools = tools
        self.base = free_base()
        self.pools = {"blue": ("127.0.0.1", self.port(10)), "green": ("127.0.0.1", self.port(11))}
        self.count = 0
        self.members = None

    def port(self, number):
        """Of a hundred. 0 to 9 are the proxy's, 10 to 12 the members', 20 to 99 nobody's."""
        return self.base + number

    def start(self):
        """One nginx is both members: one worker, as it shares its core with the load anyway."""
        folder = self.new_folder("members")
        servers = [MEMBER.format(address=address, port=port, body=BODIES[pool].strip())
                   for pool, (address, port) in self.pools.items()]
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w") as file:
            file.write(MEMBERS.format(folder=folder, servers="\n".join(servers), counts=self.port(12)))
        command = on_core(LOAD_CORE, [self.tools["nginx"], "-p", folder, "-e", f"{folder}/error.log", "-c", conf])
        self.members = subprocess.Popen(command, start_new_session=True)
        for address, port in self.pools.values():
            wait_for_port(port)

    def stop(self):
        if self.members:
            self.members.terminate()
            self.members.wait()
            self.members = None

    def member_counts(self):
        """Connections and requests that members have taken so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(12), timeout=5)
        connection.request("GET", "/")
        # The second line but one is `accepts handled requests`, as numbers.
        accepts, _, requests = connection.getresponse().read().decode().split("\n")[2].split()
        connection.close()
        return int(accepts), int(requests)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def new_folder(self, name):
        """Of its own for each start, with all that was written kept for who wants to look."""
        self.count += 1
        folder = os.path.join(self.folder, f"{self.count:03}-{name}")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        os.chmod(folder, 0o755)
        return folder


def on_core(core, command):
    return ["taskset", "-c", str(core), *command]


def free_base():
    for base in PORT_BASES:
        try:
            for number in range(13):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", base + number))
            return base
        except OSError:
            continue
    raise RuntimeError(f"expected thirteen free ports from {PORT_BASES.start} on, found none")


def wait_for_port(port, limit=10):
    """Until somebody listens there."""
    deadline = time.monotonic() + limit
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens at 127.0.0.1:{port}") from None
            time.sleep(0.01)
