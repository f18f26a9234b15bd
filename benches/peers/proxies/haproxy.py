"""HAProxy, by its own ACLs, by a few lines of Lua, with all the fields that Switchback writes, and without any HTTP."""

from .peer import Peer


class Haproxy(Peer):
    name = "haproxy"
    title = "HAProxy, ACL"
    decides_by = "ACLs on the cookie and the path"
    needs = ("haproxy",)
    speaks = ("http1", "http2", "tls")

    GLOBAL = ""
    CHOICE = """
  acl is_green req.cook(pool) -m str green
  acl is_beta path_beg /beta/
  use_backend green if is_beta or is_green
  default_backend blue
"""
    FIELDS = ""

    def configure(self):
        tls = ""
        if "bundle" in self.lab.tools:
            tls = f'  bind 127.0.0.1:{self.tls_port} ssl crt {self.lab.tools["bundle"]} alpn http/1.1'
        pools = "\n".join(f"backend {pool}\n  server {pool} {self.member(pool)} pool-max-conn -1"
                          for pool in self.pools)
        path = self.write("haproxy.cfg", f"""
global
  nbthread 1
  maxconn 9000
  stats socket {self.folder}/admin.sock level admin
  {self.GLOBAL}
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-keep-alive 75s
  http-reuse always
frontend shop
  bind 127.0.0.1:{self.port}
  bind 127.0.0.1:{self.http2_port} proto h2
{tls}
{self.FIELDS}
{self.CHOICE}
frontend metrics
  bind 127.0.0.1:{self.admin_port}
  http-request use-service prometheus-exporter
{pools}
""")
        return [self.lab.tools["haproxy"], "-db", "-f", path]


class HaproxyLua(Haproxy):
    name = "haproxy-lua"
    title = "HAProxy + Lua"
    decides_by = "Lua, as a fetch in `use_backend`"
    needs = ("haproxy", "haproxy-lua")

    CHOICE = """
  use_backend %[lua.pool]
"""
    LUA = """
core.register_fetches("pool", function(txn)
  if string.sub(txn.f:path(), 1, 6) == "/beta/" then return "green" end
  if txn.f:req_cook("pool") == "green" then return "green" end
  return "blue"
end)
"""

    def configure(self):
        self.GLOBAL = f"lua-load {self.write('pool.lua', self.LUA)}"
        return super().configure()


class HaproxyFields(Haproxy):
    """Not asked for by the goal, but what an equal amount of work would be."""

    name = "haproxy-fields"
    title = "HAProxy, ACL, and the fields that Switchback writes"
    decides_by = "ACLs; `X-Forwarded-*`, `Forwarded`, `Via`, `X-Request-Id` for members"

    FIELDS = """
  unique-id-format %{+X}o%ci%cp%Ts%rt
  unique-id-header X-Request-Id
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header Forwarded "for=%[src];host=%[req.hdr(host)];proto=http"
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
"""


class HaproxyTcp(Peer):
    """Bytes from one socket to the other, with no HTTP at all: the floor for any proxy that makes the same system calls."""

    name = "haproxy-tcp"
    title = "HAProxy, TCP mode"
    decides_by = "nothing: it does not look"
    needs = ("haproxy",)
    speaks_not = "it passes on what it does not read"

    def configure(self):
        path = self.write("haproxy.cfg", f"""
global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 75s
  timeout server 75s
listen shop
  bind 127.0.0.1:{self.port}
  server blue {self.member("blue")}
""")
        return [self.lab.tools["haproxy"], "-db", "-f", path]

    def questions(self):
        return [("/", None, "blue"), ("/beta/cart", "pool=green", "blue")]
