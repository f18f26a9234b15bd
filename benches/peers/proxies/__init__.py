"""The proxies that are compared, in the order of the tables."""

from .caddy import Caddy
from .envoy import Envoy, EnvoyLua, EnvoyWasm
from .floor import Floor
from .haproxy import Haproxy, HaproxyFields, HaproxyLua, HaproxyTcp
from .nginx import Nginx, NginxLua
from .nobody import Nobody
from .peer import Peer
from .switchback import Switchback, SwitchbackPool
from .varnish import Varnish

ALL = {peer.name: peer for peer in (
    Switchback, SwitchbackPool, Haproxy, HaproxyFields, HaproxyLua, Nginx, NginxLua, Varnish, Envoy, EnvoyLua, EnvoyWasm,
    Caddy, Floor, HaproxyTcp)}

# Beside them in the table of latencies, so that it can be told what is theirs.
EVERYBODY = ALL | {Nobody.name: Nobody}
