"""Caddy, by matchers."""

import json
import os

from .peer import Peer


class Caddy(Peer):
    name = "caddy"
    title = "Caddy, matchers"
    decides_by = "a path matcher, and a regular expression over `Cookie`"
    needs = ("caddy",)
    speaks = ("http1", "http2", "tls")

    def configure(self):
        def to(pool):
            return {"handler": "reverse_proxy", "upstreams": [{"dial": self.member(pool)}], "transport": {
                "protocol": "http", "compression": False,
                "keep_alive": {"max_idle_conns_per_host": 256, "idle_timeout": "75s"}}}

        cookie = {"Cookie": {"pattern": r"(?:^|;\s*)pool=green(?:;|$)"}}
        routes = [{"match": [{"path": ["/beta/*"]}, {"header_regexp": cookie}], "handle": [to("green")]},
                  {"handle": [to("blue")]}]
        plain = {"routes": routes, "automatic_https": {"disable": True}}
        servers = {
            "http1": plain | {"listen": [f"127.0.0.1:{self.port}"], "protocols": ["h1"]},
            "http2": plain | {"listen": [f"127.0.0.1:{self.http2_port}"], "protocols": ["h1", "h2c"]},
        }
        apps = {"http": {"servers": servers, "metrics": {}}}
        if "certificate" in self.lab.tools:
            servers["tls"] = plain | {"listen": [f"127.0.0.1:{self.tls_port}"], "protocols": ["h1"],
                                      # The load asks for no name that a certificate could have.
                                      "tls_connection_policies": [{
                                          "alpn": ["http/1.1"], "default_sni": "shop.test", "fallback_sni": "shop.test"}]}
            apps["tls"] = {"certificates": {"load_files": [
                {"certificate": self.lab.tools["certificate"], "key": self.lab.tools["key"]}]}}
        path = self.write("caddy.json", json.dumps({
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "logging": {"logs": {"default": {"level": "WARN"}}}, "apps": apps}, indent=1))
        return [self.lab.tools["caddy"], "run", "--config", path]

    def environment(self):
        # One thread that runs Go code; its home is its folder.
        home = {name: self.folder for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        return dict(os.environ) | {"GOMAXPROCS": "1"} | home
