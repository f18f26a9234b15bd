"""nginx, by `map`, and by a few lines of Lua."""

from .peer import Peer


class Nginx(Peer):
    name = "nginx"
    title = "nginx, map"
    decides_by = "`map` of the cookie and the path"
    needs = ("nginx",)
    speaks = ("http1", "http2", "tls")

    MODULES = ""
    CHOICE = """
  map $cookie_pool $by_cookie { default blue; green green; }
  map $uri $pool { default $by_cookie; "~^/beta/" green; }
"""
    LOCATION = "proxy_pass http://$pool;"

    def configure(self):
        listen = [f"127.0.0.1:{self.port} backlog=4096", f"127.0.0.1:{self.http2_port} http2 backlog=4096"]
        tls = ""
        if "certificate" in self.lab.tools:
            listen.append(f"127.0.0.1:{self.tls_port} ssl backlog=4096")
            # It speaks TLS 1.3 by itself only from 1.23.4 on.
            tls = (f'ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {self.lab.tools["certificate"]}; '
                   f'ssl_certificate_key {self.lab.tools["key"]};')
        pools = "\n".join(
            f"  upstream {pool} {{ server {self.member(pool)}; keepalive 128; keepalive_requests 1000000000; }}"
            for pool in self.pools)
        listens = "\n".join(f"    listen {it};" for it in listen)
        conf = self.write("nginx.conf", f"""
{self.MODULES}
daemon off; worker_processes 1; user root; pid {self.folder}/pid; error_log {self.folder}/error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {self.folder}/t1; proxy_temp_path {self.folder}/t2; fastcgi_temp_path {self.folder}/t3;
  uwsgi_temp_path {self.folder}/t4; scgi_temp_path {self.folder}/t5;
  keepalive_timeout 75s; keepalive_requests 1000000000; tcp_nodelay on;
{pools}
{self.CHOICE}
  server {{
{listens}
    {tls}
    location / {{
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      {self.LOCATION}
    }}
  }}
  server {{ listen 127.0.0.1:{self.admin_port}; location / {{ stub_status; }} }}
}}
""")
        return [self.lab.tools["nginx"], "-p", self.folder, "-e", f"{self.folder}/error.log", "-c", conf]


class NginxLua(Nginx):
    name = "nginx-lua"
    title = "nginx + Lua"
    decides_by = "Lua (LuaJIT) in `set_by_lua`"
    needs = ("nginx", "nginx-lua")

    CHOICE = ""
    LOCATION = """
      set_by_lua_block $pool {
        if ngx.re.find(ngx.var.uri, "^/beta/", "jo") then return "green" end
        if ngx.var.cookie_pool == "green" then return "green" end
        return "blue"
      }
      proxy_pass http://$pool;
"""

    def configure(self):
        modules = self.lab.tools["nginx-lua"]
        self.MODULES = f"load_module {modules}/ndk_http_module.so; load_module {modules}/ngx_http_lua_module.so;"
        return super().configure()
