//! A guest: a process of its own, so that it can be killed.
//!
//! It says its name, one byte. Then it answers frames: `E`, four bytes of length, so many bytes: the same bytes back. `S` and a
//! length: so many zeros. A TLS record in front is skipped. Anything else ends the connection.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub struct Backend {
    name: char,
    pub at: SocketAddr,
    child: Child,
}

impl Backend {
    pub fn start(name: char, at: SocketAddr) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["--guest", &name.to_string(), &at.to_string()]);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a guest");
        Self { name, at, child }
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    pub fn start_again(&mut self) {
        *self = Self::start(self.name, self.at);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child does.
pub fn run(name: u8, at: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async move {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(at).expect("bound");
        let listener = socket.listen(4096).expect("listening");
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(name, stream));
            }
        }
    });
}

async fn answer(name: u8, mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    stream.write_all(&[name]).await.ok()?;
    loop {
        let kind = stream.read_u8().await.ok()?;
        if kind == 22 {
            let mut rest = [0; 4];
            stream.read_exact(&mut rest).await.ok()?;
            skip(&mut stream, u16::from_be_bytes([rest[2], rest[3]]).into()).await?;
            continue;
        }
        let mut length = stream.read_u32().await.ok()? as usize;
        match kind {
            b'E' if length <= 64 * 1024 => {
                let mut bytes = vec![0; length];
                stream.read_exact(&mut bytes).await.ok()?;
                stream.write_all(&bytes).await.ok()?;
            }
            b'S' => {
                let zeros = [0; 16 * 1024];
                while length > 0 {
                    let n = length.min(zeros.len());
                    stream.write_all(&zeros[..n]).await.ok()?;
                    length -= n;
                }
            }
            _ => return None,
        }
    }
}

async fn skip(stream: &mut TcpStream, n: usize) -> Option<()> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(())
}
