"""The proxies once more, each told to switch from pool blue to green and back by the best means that it has.

Here no cookie and no path decides: all requests go to the pool that was chosen last, first of all blue. `means` are the
lines of a file that `switchback-race` takes (benches/race/src/means.rs).
"""

import json
import os
import re
import shutil
import socket
from urllib.parse import quote

import proxies


class Racer:
    """Beside one of the proxies' classes, and before it."""

    title = ""
    # What is done to switch, for the table.
    switched_by = ""

    def questions(self):
        return [("/", None, "blue")]

    def prepare(self):
        """What remains to be done once it serves."""

    def means(self, pool):
        """Lines that switch to `pool`."""
        raise NotImplementedError

    def place(self, source, place):
        return f"place {self.folder}/{source} {self.folder}/{place}"

    def send(self, address, name, text, expected=""):
        """Bytes to a TCP address or a Unix socket, and what their answer has to hold."""
        return f"send {address} {self.write(name, text)} {expected}".rstrip()

    def pools_of(self, configure, name):
        """A file of the name for each pool, as `configure` writes `name` for it; last, and so in use, is blue's."""
        for pool in ("green", "blue"):
            command = configure(pool)
            shutil.copy(os.path.join(self.folder, name), os.path.join(self.folder, f"{pool}-{name}"))
        return command


class Switchback(Racer, proxies.Switchback):
    name = "switchback"
    title = "Switchback, a policy's settings"
    switched_by = "`back` and `forward`, through the control socket"

    def prepare(self):
        with open(self.lab.tools["policy"], "rb") as file:
            policy = file.read()
        # What the race asks for is what no cookie and no path decides.
        config = quote(json.dumps(self.POLICY | {"otherwise": "green"}))
        self.call("PUT", f"/v1/policies/shop?config={config}", policy)
        self.call("POST", "/v1/back")

    def means(self, pool):
        way = "forward" if pool == "green" else "back"
        request = self.request("POST", f"/v1/{way}").decode()
        return [self.send(f"{self.folder}/state/control.sock", way, request, "HTTP/1.1 200")]

    def request(self, method, path, body=b""):
        with open(os.path.join(self.folder, "state", "control.token")) as file:
            token = file.read().strip()
        return (f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n").encode() + body

    def call(self, method, path, body=b""):
        answer = exchange(os.path.join(self.folder, "state", "control.sock"), self.request(method, path, body))
        if not answer.startswith("HTTP/1.1 200"):
            raise RuntimeError(f"{method} {path} was answered by {answer}")


class SwitchbackPool(Switchback, proxies.SwitchbackPool):
    name = "switchback-pool"
    title = "Switchback, a vip's pool"

    needs = proxies.SwitchbackPool.needs
    VIP = proxies.SwitchbackPool.VIP

    def prepare(self):
        self.call("PUT", "/v1/vips/shop", b'{"pool": "green"}')
        self.call("POST", "/v1/back")


class HaproxyMap(Racer, proxies.Haproxy):
    name = "haproxy"
    title = "HAProxy, map"
    switched_by = "`set map` on the stats socket"

    def configure(self):
        places = self.write("pools.map", "shop blue\n")
        self.CHOICE = f"  use_backend %[str(shop),map({places})]"
        return super().configure()

    def means(self, pool):
        command = f"set map {self.folder}/pools.map shop {pool}\n"
        return [self.send(f"{self.folder}/admin.sock", f"to-{pool}", command)]


class HaproxyReload(Racer, proxies.Haproxy):
    name = "haproxy-reload"
    title = "HAProxy, reload"
    switched_by = "another file, and SIGUSR2 to the master"

    def configure(self):
        self.pools_of(self.configured, "haproxy.cfg")
        return [self.lab.tools["haproxy"], "-W", "-f", f"{self.folder}/haproxy.cfg"]

    def configured(self, pool):
        self.CHOICE = f"  default_backend {pool}"
        return super().configure()

    def means(self, pool):
        return [self.place(f"{pool}-haproxy.cfg", "haproxy.cfg"), f"signal {self.process.pid} USR2"]


class NginxReload(Racer, proxies.Nginx):
    name = "nginx-reload"
    title = "nginx, reload"
    switched_by = "another file, and SIGHUP to the master"

    CHOICE = ""

    def configure(self):
        return self.pools_of(self.configured, "nginx.conf")

    def configured(self, pool):
        self.LOCATION = f"proxy_pass http://{pool};"
        return super().configure()

    def means(self, pool):
        return [self.place(f"{pool}-nginx.conf", "nginx.conf"), f"signal {self.process.pid} HUP"]


class NginxLua(Racer, proxies.NginxLua):
    name = "nginx-lua"
    title = "nginx + Lua, shared dictionary"
    switched_by = "a request that sets the dictionary's value"

    LOCATION = """
      set_by_lua_block $pool { return ngx.shared.race:get("pool") or "blue" }
      proxy_pass http://$pool;
"""

    def configure(self):
        self.switch = f"127.0.0.1:{self.lab.port(4)}"
        self.CHOICE = """
  lua_shared_dict race 1m;
  server {
    listen SWITCH;
    location / {
      content_by_lua_block { ngx.shared.race:set("pool", string.sub(ngx.var.uri, 2)) ngx.say("done") }
    }
  }
""".replace("SWITCH", self.switch)
        return super().configure()

    def means(self, pool):
        request = f"GET /{pool} HTTP/1.1\r\nhost: {self.switch}\r\nconnection: close\r\n\r\n"
        return [self.send(self.switch, f"to-{pool}", request, "HTTP/1.1 200")]


class VarnishUse(Racer, proxies.Varnish):
    name = "varnish"
    title = "Varnish, VCL"
    switched_by = "`vcl.use`, both VCLs loaded"

    # Nobody but us is on this machine's loopback: a challenge to answer is no part of a switch. And as many VCLs as wanted.
    COMMAND_LINE = ("-S", "none", "-p", "max_vcl=1000")

    def configure(self):
        command = super().configure()
        self.command_line = f"127.0.0.1:{self.admin_port}"
        for pool in ("green", "blue"):
            address, port = self.pools[pool]
            vcl = (f'vcl 4.1;\nbackend {pool} {{ .host = "{address}"; .port = "{port}"; }}\n'
                   "sub vcl_recv { return (pass); }\n")
            self.write(f"{pool}.vcl", vcl)
        # The one that `command` starts with.
        shutil.copy(f"{self.folder}/blue.vcl", f"{self.folder}/shop.vcl")
        return [*command, *self.COMMAND_LINE]

    def prepare(self):
        self.tell(*(f"vcl.load {pool} {self.folder}/{pool}.vcl" for pool in ("green", "blue")), "vcl.use blue")

    def tell(self, *commands):
        for command in commands:
            answer = exchange(self.command_line, f"{command}\nquit\n".encode())
            # A status and a length, then text: of the banner, the command, and its `quit`.
            _, *banner, status, text, _, _ = re.split(r"^(\d{3}) \d+ *$", answer, flags=re.MULTILINE)
            if not banner or status != "200":
                raise RuntimeError(f"`{command}` was answered by {status} {text.strip()}")

    def means(self, pool):
        return [self.send(self.command_line, f"to-{pool}", f"vcl.use {pool}\nquit\n", "now active")]


class VarnishLabel(VarnishUse):
    name = "varnish-label"
    title = "Varnish, VCL label"
    switched_by = "`vcl.label`, to which the VCL in use goes on"

    def prepare(self):
        super().prepare()
        vcl = "vcl 4.1;\nbackend default none;\nsub vcl_recv { return (vcl(shop)); }\n"
        self.tell("vcl.label shop blue", f"vcl.load label {self.write('label.vcl', vcl)}", "vcl.use label")

    def means(self, pool):
        return [self.send(self.command_line, f"to-{pool}", f"vcl.label shop {pool}\nquit\n")]


class Envoy(Racer, proxies.Envoy):
    name = "envoy"
    title = "Envoy, routes from a file"
    switched_by = "a file of routes (RDS) takes another's place"

    def configure(self):
        for pool in ("green", "blue"):
            hosts = [{"name": "shop", "domains": ["*"],
                      "routes": [{"match": {"prefix": "/"}, "route": {"cluster": pool}}]}]
            routes = {"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
                      "name": "shop", "virtual_hosts": hosts}
            self.write(f"{pool}-routes.json", json.dumps({"version_info": pool, "resources": [routes]}))
        shutil.copy(f"{self.folder}/blue-routes.json", f"{self.folder}/routes.json")
        # It asks nobody, but takes no routes without having a name.
        return [*super().configure(), "--service-node", "race", "--service-cluster", "race"]

    def listener(self, name, port, more):
        listener = super().listener(name, port, more)
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        del manager["route_config"]
        source = {"path_config_source": {"path": f"{self.folder}/routes.json"}, "resource_api_version": "V3"}
        manager["rds"] = {"route_config_name": "shop", "config_source": source}
        return listener

    def means(self, pool):
        return [self.place(f"{pool}-routes.json", "routes.json")]


class Caddy(Racer, proxies.Caddy):
    name = "caddy"
    title = "Caddy"
    switched_by = "the whole configuration, to `/load` of the admin API"

    def configure(self):
        command = super().configure()
        with open(f"{self.folder}/caddy.json") as file:
            config = json.load(file)
        servers = config["apps"]["http"]["servers"].values()
        # The last route is blue's, and takes what no other did.
        blues = [json.dumps(server["routes"][-1]) for server in servers]
        for pool in ("green", "blue"):
            for server, blue in zip(servers, blues):
                server["routes"] = [json.loads(blue.replace(self.member("blue"), self.member(pool)))]
            self.write(f"{pool}.json", json.dumps(config))
        shutil.copy(f"{self.folder}/blue.json", f"{self.folder}/caddy.json")
        return command

    def means(self, pool):
        with open(f"{self.folder}/{pool}.json") as file:
            config = file.read()
        admin = f"127.0.0.1:{self.admin_port}"
        request = (f"POST /load HTTP/1.1\r\nhost: {admin}\r\ncontent-type: application/json\r\n"
                   f"content-length: {len(config)}\r\nconnection: close\r\n\r\n{config}")
        return [self.send(admin, f"to-{pool}", request, "HTTP/1.1 200")]


ALL = {racer.name: racer for racer in (
    Switchback, SwitchbackPool, HaproxyMap, HaproxyReload, NginxReload, NginxLua, VarnishUse, VarnishLabel, Envoy, Caddy)}


def exchange(address, request):
    """What is answered until the other side closes; `address` as `send` has it."""
    if address.startswith("/"):
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(address)
    else:
        host, port = address.rsplit(":", 1)
        stream = socket.create_connection((host, int(port)))
    with stream:
        stream.settimeout(60)
        stream.sendall(request)
        return b"".join(iter(lambda: stream.recv(65536), b"")).decode(errors="replace")
