"""The proxies once more, each with as many policies in use as it is told: one for each of so many hosts.

Every host's policy is its own, by the means that the proxy has, and decides as the one policy of the table does. What is
not shared in the configuration is shared in memory only where the proxy itself finds that it can be.
"""

import json

import proxies
import racers


def host(number):
    return f"p{number}.shop.test"


class Many:
    """Beside one of the proxies' classes, and before it."""

    # What one more is, for the table.
    one_more = ""

    def __init__(self, lab, count):
        super().__init__(lab)
        self.count = count

    def wait_until_it_serves(self, limit=300):
        """Some compile for a while."""
        super().wait_until_it_serves(limit)

    def prepare(self):
        """What remains to be done once it serves."""

    def ask_all(self):
        """Each policy decides once, so that what is made at the first request is there."""
        for number in range(self.count):
            for target, cookie, pool in (("/", "uid=7", "blue"), ("/", "pool=green", "green"), ("/beta/", "uid=7", "green")):
                if not self.decides():
                    pool = "blue"
                status, body = self.ask(target, {"Host": host(number), "Cookie": cookie})
                if (status, body[:4]) != (200, pool[:4]):
                    raise RuntimeError(f"{self.name} answers {target} of {host(number)} by {status} {body}, expected {pool}")

    def decides(self):
        return True

    def append(self, name, text):
        with open(f"{self.folder}/{name}", "a") as file:
            file.write(text)


class Switchback(Many, proxies.Switchback):
    one_more = "a vip, and a policy of another build"

    def configure(self):
        command = super().configure()
        with open(self.lab.tools["policy"], "rb") as file:
            build = file.read()
        for number in range(self.count):
            with open(f"{self.folder}/policies/p{number}.wasm", "wb") as file:
                # The same code, and yet another build: what it is known by is the digest of all bytes.
                file.write(build + custom_section(f"number {number}"))
            self.append("switchback.toml", f"""
[vips.p{number}]
listen = "plain"
hosts = ["{host(number)}"]
policy = "p{number}"
[policies.p{number}]
config = '{json.dumps(self.POLICY)}'
""")
        return command


class SwitchbackPool(Many, proxies.SwitchbackPool):
    one_more = "a vip with a pool"

    def configure(self):
        command = super().configure()
        for number in range(self.count):
            vip = f'[vips.p{number}]\nlisten = "plain"\nhosts = ["{host(number)}"]\npool = "blue"\n'
            self.append("switchback.toml", vip)
        return command

    def decides(self):
        return False


class Haproxy(Many, proxies.Haproxy):
    one_more = "a host's ACLs"

    def configure(self):
        self.CHOICE = "".join(f"""
  acl is_{number} req.hdr(host) -i {host(number)}
  acl is_green_{number} req.cook(pool) -m str green
  acl is_beta_{number} path_beg /beta/
  use_backend green if is_{number} is_beta_{number} or is_{number} is_green_{number}
""" for number in range(self.count)) + proxies.Haproxy.CHOICE
        return super().configure()


class HaproxyLua(Many, proxies.HaproxyLua):
    one_more = "a host's function"

    def configure(self):
        numbers = range(self.count)
        self.LUA = "\n".join([proxies.HaproxyLua.LUA] + [
            proxies.HaproxyLua.LUA.replace('"pool", function', f'"pool_{number}", function') for number in numbers])
        self.CHOICE = "".join(f"  use_backend %[lua.pool_{number}] if {{ req.hdr(host) -i {host(number)} }}\n"
                              for number in numbers) + proxies.HaproxyLua.CHOICE
        return super().configure()


class ManyServers(Many):
    """Of nginx: a server of its own for each host."""

    def configure(self):
        command = super().configure()
        with open(f"{self.folder}/nginx.conf") as file:
            conf = file.read().rstrip().removesuffix("}")
        servers = "".join(f"""
  {self.choice(number)}
  server {{
    listen 127.0.0.1:{self.port};
    server_name {host(number)};
    location / {{
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      {self.location(number)}
    }}
  }}
""" for number in range(self.count))
        # Behind the others: the first server is the one of hosts that no other has.
        self.write("nginx.conf", f"{conf}\n{servers}}}\n")
        return command


class Nginx(ManyServers, proxies.Nginx):
    one_more = "a server with its maps"

    def choice(self, number):
        return self.CHOICE.replace("$by_cookie", f"$by_cookie_{number}").replace("$pool", f"$pool_{number}")

    def location(self, number):
        return self.LOCATION.replace("$pool", f"$pool_{number}")


class NginxLua(ManyServers, proxies.NginxLua):
    one_more = "a server with its Lua"

    def choice(self, number):
        return ""

    def location(self, number):
        # Chunks of the same text are one for it.
        return self.LOCATION.replace('return "blue"', f'return "blue" -- {number}')


class Varnish(Many, racers.VarnishUse):
    name = "varnish"
    one_more = "a VCL, to which a label leads"

    def configure(self):
        self.command_line = f"127.0.0.1:{self.admin_port}"
        return [*proxies.Varnish.configure(self), *self.COMMAND_LINE]

    def questions(self):
        return proxies.Varnish.questions(self)

    def prepare(self):
        with open(f"{self.folder}/shop.vcl") as file:
            shop = file.read()
        for number in range(self.count):
            self.tell(f"vcl.load v{number} {self.folder}/shop.vcl", f"vcl.label l{number} v{number}")
        leads = "".join(f'  if (req.http.Host == "{host(number)}") {{ return (vcl(l{number})); }}\n'
                        for number in range(self.count))
        top = shop.replace("sub vcl_recv {", "sub vcl_recv {\n" + leads)
        self.tell(f"vcl.load top {self.write('top.vcl', top)}", "vcl.use top")


class Envoy(Many, proxies.Envoy):
    one_more = "a virtual host's routes"

    def listener(self, name, port, more):
        listener = super().listener(name, port, more)
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        hosts = manager["route_config"]["virtual_hosts"]
        hosts += [hosts[0] | {"name": f"p{number}", "domains": [host(number)]} | self.of_host(number)
                  for number in range(self.count) if name == "plain"]
        return listener

    def of_host(self, number):
        return {}


class EnvoyLua(Envoy, proxies.EnvoyLua):
    one_more = "a virtual host's routes, and its Lua"

    def of_host(self, number):
        lua = {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute",
               "source_code": {"inline_string": f"{self.LUA}-- {number}\n"}}
        return {"typed_per_filter_config": {"lua": lua}}


class EnvoyWasm(Many, proxies.EnvoyWasm):
    one_more = "a filter with a VM of its own, in the one chain"

    def listener(self, name, port, more):
        # The other listeners would double what is counted.
        self.is_counted = name == "plain"
        return super().listener(name, port, more)

    def filters(self):
        filters = super().filters()
        for number in range(self.count if self.is_counted else 0):
            another = json.loads(json.dumps(super().filters()[0]))
            another["name"] = f"wasm-{number}"
            another["typed_config"]["config"]["vm_config"]["vm_id"] = f"pool-{number}"
            filters.append(another)
        return filters


class Caddy(Many, proxies.Caddy):
    one_more = "a host's routes"

    def configure(self):
        command = super().configure()
        with open(f"{self.folder}/caddy.json") as file:
            config = json.load(file)
        server = config["apps"]["http"]["servers"]["http1"]
        routes = server["routes"]
        server["routes"] = [{"match": [{"host": [host(number)]}], "handle": [{"handler": "subroute", "routes": routes}],
                             "terminal": True} for number in range(self.count)] + routes
        self.write("caddy.json", json.dumps(config))
        return command


ALL = {kind.name: kind for kind in (
    Switchback, SwitchbackPool, Haproxy, HaproxyLua, Nginx, NginxLua, Varnish, Envoy, EnvoyLua, EnvoyWasm, Caddy)}


def custom_section(text):
    """One of WebAssembly's sections that nothing reads. Short texts only."""
    payload = b"\x06number" + text.encode()
    return bytes([0, len(payload)]) + payload
