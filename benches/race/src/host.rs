//! A proxy to switch, in a process and a folder of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use crate::means::Means;

pub(crate) struct Host {
    folder: PathBuf,
    token: String,
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Host {
    pub(crate) fn start(program: &str, blue: SocketAddr, green: SocketAddr) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("switchback-race-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        // Let go of at once: nobody else asks for it in between, on a machine that is measured.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = format!(
            "workers = 1\n[control]\nlisten = \"127.0.0.1:0\"\n[vips.web]\nlisten = \"{address}\"\npool = \"blue\"\n\
             [pools.blue]\nmembers = [\"{blue}\"]\n[pools.green]\nmembers = [\"{green}\"]\n"
        );
        std::fs::write(folder.join("switchback.toml"), config)?;
        let mut command = Command::new(program);
        command.arg("--config").arg(folder.join("switchback.toml")).arg("run").env("SWITCHBACK_LOG", "error");
        let process = command.spawn()?;
        let token = folder.join("state/control.token");
        let mut host = Self { folder, token: String::new(), address, process };
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(50));
            host.token = std::fs::read_to_string(&token).unwrap_or_default().trim().to_owned();
            if host.call("GET", "/ready", "").is_ok() {
                return Ok(host);
            }
        }
        Err(io::Error::other("the proxy does not serve"))
    }

    /// A call of the control API that goes well.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> io::Result<()> {
        self.means(method, path, body).prepare()?.switch()
    }

    /// `back` or `forward`.
    pub(crate) fn step(&self, way: &str) -> Means {
        self.means("POST", &format!("/v1/{way}"), "")
    }

    fn means(&self, method: &str, path: &str, body: &str) -> Means {
        let (token, length) = (&self.token, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        );
        Means::send(self.folder.join("state/control.sock"), request.into_bytes(), "HTTP/1.1 200")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
