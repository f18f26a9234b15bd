"""Envoy, by routes, and by a filter in Lua or in WebAssembly that sets a field by which its routes choose."""

import json

from .peer import Peer

TYPE = "type.googleapis.com/envoy.extensions."
HTTP = TYPE + "filters.http."


class Envoy(Peer):
    name = "envoy"
    title = "Envoy, routes"
    decides_by = "routes: a prefix, and a regular expression over `Cookie`"
    needs = ("envoy",)
    speaks = ("http1", "http2", "tls")

    def greens(self):
        """What the routes to green match."""
        cookie = {"safe_regex": {"regex": r"(?:.*;\s*)?pool=green(?:;.*)?"}}
        return [{"prefix": "/beta/"}, {"prefix": "/", "headers": [{"name": "cookie", "string_match": cookie}]}]

    def filters(self):
        return []

    def configure(self):
        listeners = [self.listener("plain", self.port, {})]
        # One listener speaks both: HTTP/2 is known by its first bytes.
        self.http2_port = self.port
        if "certificate" in self.lab.tools:
            certificate = {"certificate_chain": {"filename": self.lab.tools["certificate"]},
                           "private_key": {"filename": self.lab.tools["key"]}}
            listeners.append(self.listener("tls", self.tls_port, {"transport_socket": {
                "name": "tls", "typed_config": {
                    "@type": TYPE + "transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": {"tls_certificates": [certificate], "alpn_protocols": ["http/1.1"]}}}}))
        config = {"admin": {"address": at("127.0.0.1", self.admin_port)},
                  "static_resources": {"listeners": listeners, "clusters": [self.cluster(pool) for pool in self.pools]}}
        path = self.write("envoy.json", json.dumps(config, indent=1))
        return [self.lab.tools["envoy"], "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]

    def listener(self, name, port, more):
        routes = [{"match": match, "route": {"cluster": "green"}} for match in self.greens()]
        routes.append({"match": {"prefix": "/"}, "route": {"cluster": "blue"}})
        manager = {
            "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "shop", "codec_type": "AUTO",
            "route_config": {"virtual_hosts": [{"name": "shop", "domains": ["*"], "routes": routes}]},
            "http_filters": [*self.filters(), {
                "name": "router", "typed_config": {"@type": HTTP + "router.v3.Router"}}],
        }
        chain = {"filters": [{"name": "http", "typed_config": manager}]} | more
        return {"name": name, "address": at("127.0.0.1", port), "filter_chains": [chain]}

    def cluster(self, pool):
        member = {"endpoint": {"address": at(*self.pools[pool])}}
        return {"name": pool, "type": "STATIC", "connect_timeout": "5s",
                "load_assignment": {"cluster_name": pool, "endpoints": [{"lb_endpoints": [member]}]}}


class ByField(Envoy):
    """A filter cannot name a pool: it sets a field, and the route is looked for again."""

    def greens(self):
        return [{"prefix": "/", "headers": [{"name": "x-pool", "string_match": {"exact": "green"}}]}]


class EnvoyLua(ByField):
    name = "envoy-lua"
    title = "Envoy + Lua"
    decides_by = "Lua (LuaJIT), which sets a field; routes by that"

    LUA = """
function envoy_on_request(handle)
  local headers = handle:headers()
  local pool = "blue"
  if string.sub(headers:get(":path"), 1, 6) == "/beta/" then
    pool = "green"
  else
    local cookie = headers:get("cookie")
    if cookie and string.find("; " .. cookie .. ";", "; pool=green;", 1, true) then pool = "green" end
  end
  headers:replace("x-pool", pool)
end
"""

    def filters(self):
        return [{"name": "lua", "typed_config": {
            "@type": HTTP + "lua.v3.Lua", "default_source_code": {"inline_string": self.LUA}}}]


class EnvoyWasm(ByField):
    name = "envoy-wasm"
    title = "Envoy + Wasm"
    decides_by = "a `proxy-wasm` filter in Rust (V8), which sets a field; routes by that"
    needs = ("envoy", "envoy-filter")

    def filters(self):
        return [{"name": "wasm", "typed_config": {"@type": HTTP + "wasm.v3.Wasm", "config": {
            "name": "pool", "root_id": "pool",
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "vm_id": "pool",
                          "code": {"local": {"filename": self.lab.tools["envoy-filter"]}}}}}}]


def at(address, port):
    return {"socket_address": {"address": address, "port_value": port}}
