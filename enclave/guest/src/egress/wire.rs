//! The bytes below TLS: a stream to the host's broker, bounded in time and in bytes each way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_vsock::{VMADDR_CID_HOST, VsockAddr, VsockStream};

use crate::transport::ListenAddress;

/// A stream to the host.
enum Raw {
    Tcp(TcpStream),
    Vsock(VsockStream),
}

/// A stream to the broker that ends when its time or its bytes are used up.
pub(super) struct Bounded {
    raw: Raw,
    read_left: u64,
    write_left: u64,
    end: Pin<Box<Sleep>>,
}

/// Connects to the broker: over TCP, or at the host's context identifier, whatever the guest's own is.
pub(super) async fn dial(at: ListenAddress, bytes_max: u64, life: Duration) -> io::Result<Bounded> {
    let raw = match at {
        ListenAddress::Tcp(at) => {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            Raw::Tcp(stream)
        }
        ListenAddress::Vsock { port } => Raw::Vsock(VsockStream::connect(VsockAddr::new(VMADDR_CID_HOST, port)).await?),
    };
    Ok(Bounded {
        raw,
        read_left: bytes_max,
        write_left: bytes_max,
        end: Box::pin(sleep(life)),
    })
}

impl Bounded {
    fn check(&mut self, left: u64, context: &mut Context<'_>) -> io::Result<()> {
        if self.end.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "egress: the connection's time is over",
            ));
        }
        match left {
            0 => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "egress: more bytes than a connection may carry",
            )),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(this.read_left, context)?;
        let before = buffer.filled().len();
        let polled = match &mut this.raw {
            Raw::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Raw::Vsock(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let read = buffer.filled().len().saturating_sub(before) as u64;
        // The read that goes past the bound is the last.
        this.read_left = this.read_left.saturating_sub(read);
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check(this.write_left, context)?;
        let polled = match &mut this.raw {
            Raw::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Raw::Vsock(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        if let Poll::Ready(Ok(written)) = polled {
            this.write_left = this.write_left.saturating_sub(written as u64);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.raw {
            Raw::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Raw::Vsock(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.raw {
            Raw::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Raw::Vsock(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn pair(bytes_max: u64, life: Duration) -> (Bounded, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = ListenAddress::Tcp(listener.local_addr().unwrap());
        let here = dial(at, bytes_max, life).await.unwrap();
        (here, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_each_way_and_time_are_bounded() {
        let minute = Duration::from_secs(60);
        let (mut here, mut there) = pair(8, minute).await;
        there.write_all(&[1; 8]).await.unwrap();
        let mut buffer = [0; 8];
        here.read_exact(&mut buffer).await.unwrap();
        assert_eq!(
            here.read(&mut buffer).await.unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        // The other way has a bound of its own.
        here.write_all(&[2; 8]).await.unwrap();
        assert_eq!(here.write(&[2]).await.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let (mut here, _there) = pair(8, Duration::from_millis(50)).await;
        let ended = tokio::time::timeout(Duration::from_secs(5), here.read(&mut buffer)).await;
        assert_eq!(ended.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
