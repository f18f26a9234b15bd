"""Varnish: VCL decides, and nothing is cached."""

from .peer import Peer

# Its log in shared memory is its access log, and written whether anybody reads it or not: all that it says of a request,
# and that can be left out by name.
LOG = """
BackendClose BackendOpen BackendReuse BackendStart Begin BereqAcct BereqHeader BereqMethod BereqProtocol BereqURL BereqUnset
BerespHeader BerespProtocol BerespReason BerespStatus BerespUnset End Fetch_Body Filters Hit HitMiss HitPass Length Link
ReqAcct ReqHeader ReqMethod ReqProtocol ReqStart ReqURL ReqUnset RespHeader RespProtocol RespReason RespStatus RespUnset
SessClose SessOpen Storage TTL Timestamp VCL_call VCL_return VCL_use
"""

class Varnish(Peer):
    name = "varnish"
    title = "Varnish, VCL, pass"
    decides_by = "VCL, compiled C"
    needs = ("varnish",)
    speaks = ("http1", "http2")
    speaks_not = "Varnish has no TLS of its own"

    def configure(self):
        pools = "\n".join(f'backend {pool} {{ .host = "{address}"; .port = "{port}"; }}'
                          for pool, (address, port) in self.pools.items())
        path = self.write("shop.vcl", f"""
vcl 4.1;
{pools}
sub vcl_recv {{
  if (req.url ~ "^/beta/" || req.http.Cookie ~ "(?:^|;\\s*)pool=green(?:;|$)") {{
    set req.backend_hint = green;
  }} else {{
    set req.backend_hint = blue;
  }}
  return (pass);
}}
""")
        settings = {
            "vsl_mask": ",".join("-" + tag for tag in LOG.split()),
            "feature": "+http2",
            "timeout_idle": "75",
            "backend_idle_timeout": "75",
            # As many threads as there are connections, from the start; they share the one core.
            "thread_pools": "1",
            "thread_pool_min": "200",
            "thread_pool_max": "20000",
        }
        command = [self.lab.tools["varnish"], "-F", "-n", f"{self.folder}/work", "-f", path, "-s", "default,64m",
                   "-a", f"http1=127.0.0.1:{self.port},HTTP", "-a", f"http2=127.0.0.1:{self.http2_port},HTTP",
                   "-T", f"127.0.0.1:{self.admin_port}", "-j", "none"]
        for name, value in settings.items():
            command += ["-p", f"{name}={value}"]
        return command
