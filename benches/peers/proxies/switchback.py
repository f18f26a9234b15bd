"""Switchback, with a policy in WebAssembly on every request, and without one."""

import json
import os
import shutil

from .peer import Peer


class Switchback(Peer):
    name = "switchback"
    title = "Switchback, Rust policy"
    decides_by = "a policy in WebAssembly, `plugins/by-cookie-and-path`"
    needs = ("switchback", "policy")
    speaks = ("http1", "http2", "tls")

    VIP = 'policy = "shop"'
    POLICY = {"cookie": "pool", "values": {"green": "green"}, "paths": {"/beta/": "green"}, "otherwise": "blue"}

    def configure(self):
        os.makedirs(os.path.join(self.folder, "policies"), exist_ok=True)
        if "policy" in self.needs:
            shutil.copy(self.lab.tools["policy"], os.path.join(self.folder, "policies", "shop.wasm"))
        tls = ""
        if "certificate" in self.lab.tools:
            tls = (f'[listeners.secure]\naddress = "127.0.0.1:{self.tls_port}"\ncertificates = [{{ '
                   f'cert = "{self.lab.tools["certificate"]}", key = "{self.lab.tools["key"]}" }}]\n')
        listen = ["plain", "secure"] if tls else ["plain"]
        settings = f"[policies.shop]\nconfig = '{json.dumps(self.POLICY)}'\n" if "policy" in self.needs else ""
        path = self.write("switchback.toml", f"""
workers = 1
[control]
listen = "127.0.0.1:{self.admin_port}"
[listeners.plain]
address = "127.0.0.1:{self.port}"
{tls}
[vips.shop]
listen = {json.dumps(listen)}
{self.VIP}
[pools.blue]
members = ["{self.member("blue")}"]
[pools.green]
members = ["{self.member("green")}"]
{settings}
""")
        # One listener speaks both: HTTP/2 is known by its first bytes.
        self.http2_port = self.port
        return [self.lab.tools["switchback"], "--config", path, "run"]

    def environment(self):
        return super().environment() | {"SWITCHBACK_LOG": "warn"}


class SwitchbackPool(Switchback):
    name = "switchback-pool"
    title = "Switchback, no policy"
    decides_by = "nothing: one pool, by configuration"
    needs = ("switchback",)

    VIP = 'pool = "blue"'

    def questions(self):
        return [("/", None, "blue"), ("/beta/cart", "pool=green", "blue")]
