//! A member that answers every request with a letter.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

pub(crate) fn start(letter: u8) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let answer = [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", &[letter][..]].concat();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut bytes = vec![0; 4096];
                // One request at a time, small enough for one read: the proxy writes its head at once.
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) && stream.write_all(&answer).is_ok() {}
            });
        }
    });
    Ok(address)
}
