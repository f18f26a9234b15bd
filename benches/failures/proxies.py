"""The proxies, each told the same things in its own words.

Two threads. Members in turn. Time to connect, to answer, and for a probe: one second. A probe each second, three bad ones
and a member is out, two good ones and it is in. Five failures in a row and it is out for ten seconds. Three tries in all
where a request can be repeated, each on another member; answers of 500, 502, 503 and 504 count as failures.
"""

import json
import os
import subprocess
import time
import urllib.request

import dns
import members

PORT = 18000
NAME = "app.test"


class Proxy:
    name = ""

    def __init__(self, folder, binary):
        self.folder = os.path.join(folder, self.name)
        os.makedirs(self.folder)
        self.binary = binary

    def start(self, addresses):
        """`addresses` of members, or none where DNS is to be asked."""
        command = self.configure(addresses)
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder)
        deadline, good = time.time() + 20, 0
        while good < 20:
            if self.process.poll() is not None or time.time() > deadline:
                raise RuntimeError(f"{self.name} does not serve, see {self.folder}/log")
            try:
                good += urllib.request.urlopen(f"http://127.0.0.1:{PORT}/n/0", timeout=1).status == 200
            except OSError:
                time.sleep(0.05)
        # Until all members were probed often enough.
        time.sleep(2.5)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


DNS = f"""[dns]
servers = ["127.0.0.1:{dns.PORT}"]
timeout = "1s"
"""


class Switchback(Proxy):
    name = "switchback"
    version = "--version"

    def configure(self, addresses):
        listed = [f"{address}:{members.PORT}" for address in addresses] or [f"{NAME}:{members.PORT}"]
        path = self.write("switchback.toml", f"""
state = "state-{time.time_ns()}"
workers = 2
[control]
listen = "127.0.0.1:18009"
{"" if addresses else DNS}
[vips.app]
listen = "127.0.0.1:{PORT}"
pool = "app"
[pools.app]
members = {json.dumps(listed)}
connect_timeout = "1s"
response_timeout = "1s"
[pools.app.check]
kind = "http"
path = "/check"
host = "{NAME}"
interval = "1s"
settle_interval = "1s"
timeout = "1s"
rise = 2
fall = 3
[pools.app.breaker]
failures = 5
rest = "10s"
slow_factor = 10
[pools.app.retries]
tries_max = 3
statuses = [500, 502, 503, 504]
""")
        return [self.binary, "--config", path, "run"]


class Haproxy(Proxy):
    name = "haproxy"
    version = "-v"

    def configure(self, addresses):
        server = "check inter 1s rise 2 fall 3 observe layer7 error-limit 5 on-error mark-down"
        if addresses:
            servers = "\n".join(f"  server m{number} {address}:{members.PORT} {server}"
                                for number, address in enumerate(addresses))
        else:
            servers = f"  server-template m 8 {NAME}:{members.PORT} {server} resolvers own init-addr none"
        path = self.write("haproxy.cfg", f"""
global
  nbthread 2
  maxconn 8000
resolvers own
  nameserver one 127.0.0.1:{dns.PORT}
  hold valid 1s
  timeout resolve 1s
  timeout retry 1s
defaults
  mode http
  timeout connect 1s
  timeout server 1s
  timeout client 30s
  timeout http-keep-alive 60s
  timeout check 1s
  retries 2
  option redispatch 1
  retry-on all-retryable-errors
  http-reuse always
frontend app
  bind 127.0.0.1:{PORT}
  default_backend app
backend app
  balance roundrobin
  http-request disable-l7-retry if METH_POST
  option httpchk
  http-check send meth GET uri /check ver HTTP/1.1 hdr Host {NAME}
{servers}
""")
        return [self.binary, "-db", "-f", path]


class Envoy(Proxy):
    name = "envoy"
    version = "--version"

    def configure(self, addresses):
        def place(address):
            return {"endpoint": {"address": {"socket_address": {"address": address, "port_value": members.PORT}}}}

        cluster = {
            "name": "app", "type": "STATIC" if addresses else "STRICT_DNS", "connect_timeout": "1s",
            "lb_policy": "ROUND_ROBIN",
            "load_assignment": {"cluster_name": "app", "endpoints": [
                {"lb_endpoints": [place(address) for address in addresses or [NAME]]}]},
            "health_checks": [{
                "timeout": "1s", "interval": "1s", "unhealthy_threshold": 3, "healthy_threshold": 2,
                # Without this one bad status is enough.
                "http_health_check": {"path": "/check", "host": NAME, "retriable_statuses": [{"start": 201, "end": 600}]},
            }],
            "outlier_detection": {"consecutive_5xx": 5, "interval": "1s", "base_ejection_time": "10s",
                                  "max_ejection_percent": 50},
            "circuit_breakers": {"thresholds": [{
                "max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000,
                "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 10}}]},
            "common_lb_config": {"healthy_panic_threshold": {"value": 25}},
        }
        if not addresses:
            cluster |= {
                # Otherwise a member that DNS has dropped is used for as long as probes find it well.
                "ignore_health_on_host_removal": True,
                "dns_refresh_rate": "1s", "respect_dns_ttl": True, "dns_lookup_family": "V4_ONLY",
                "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "1s"},
                "typed_dns_resolver_config": {
                    "name": "envoy.network.dns_resolver.cares",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                        "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": dns.PORT}}],
                        "dns_resolver_options": {"no_default_search_domain": True}}},
            }
        retry = {"num_retries": 2, "per_try_timeout": "1s", "host_selection_retry_max_attempts": 5,
                 "retry_host_predicate": [{
                     "name": "envoy.retry_host_predicates.previous_hosts",
                     "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}]}

        def route(retry_on, more):
            return {"match": {"prefix": "/"} | more,
                    "route": {"cluster": "app", "timeout": "10s", "retry_policy": retry | {"retry_on": retry_on}}}

        posts = {"headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "app", "codec_type": "HTTP1",
            "route_config": {"virtual_hosts": [{"name": "app", "domains": ["*"], "routes": [
                route("connect-failure,refused-stream", posts),
                route("connect-failure,refused-stream,reset,5xx", {})]}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        }
        config = {"static_resources": {
            "listeners": [{
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": PORT}},
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
            "clusters": [cluster]}}
        path = self.write("envoy.json", json.dumps(config, indent=1))
        return [self.binary, "-c", path, "--concurrency", "2", "--disable-hot-restart", "-l", "warning"]


ALL = {proxy.name: proxy for proxy in (Switchback, Haproxy, Envoy)}
