//! The way to a guest: directly, or through an HTTP proxy that tunnels (CONNECT, RFC 9110 section 9.3.6). A proxy sees the
//! address and opaque bytes; it is one more host on the path, and as untrusted.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::error::ClientError;

/// Longest head of a proxy's answer in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

pub(crate) async fn connect(endpoint: &Endpoint, proxy: Option<&Endpoint>) -> Result<TcpStream, ClientError> {
    let next = proxy.unwrap_or(endpoint);
    let mut tcp = TcpStream::connect(next.host_port()).await.map_err(|e| match proxy {
        Some(proxy) => ClientError::Proxy {
            proxy: proxy.to_string(),
            got: e.to_string(),
        },
        None => ClientError::Unreachable {
            endpoint: endpoint.to_string(),
            detail: e.to_string(),
        },
    })?;
    let _ = tcp.set_nodelay(true);
    if let Some(proxy) = proxy {
        tunnel(&mut tcp, endpoint).await.map_err(|got| ClientError::Proxy {
            proxy: proxy.to_string(),
            got,
        })?;
    }
    Ok(tcp)
}

async fn tunnel(tcp: &mut TcpStream, endpoint: &Endpoint) -> Result<(), String> {
    let request = format!("CONNECT {endpoint} HTTP/1.1\r\nhost: {endpoint}\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut head = Vec::new();
    // Byte by byte: whatever follows the blank line belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(format!("more than {HEAD_BYTES_MAX} bytes of headers"));
        }
        head.push(tcp.read_u8().await.map_err(|e| e.to_string())?);
    }
    let status = head.get(..12).unwrap_or_default();
    match status {
        b"HTTP/1.1 200" | b"HTTP/1.0 200" => Ok(()),
        other => Err(String::from_utf8_lossy(other).escape_debug().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn through(answer: &'static str) -> Result<Vec<u8>, &'static str> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Endpoint::from(listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut seen = [0; 256];
            let n = tcp.read(&mut seen).await.unwrap();
            tcp.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(seen[..n].to_vec()).unwrap()
        });
        let mut tcp = connect(&"guest.example:8443".parse().unwrap(), Some(&proxy))
            .await
            .map_err(|e| e.code())?;
        let mut rest = Vec::new();
        tcp.read_to_end(&mut rest).await.unwrap();
        assert!(
            served
                .await
                .unwrap()
                .starts_with("CONNECT guest.example:8443 HTTP/1.1\r\n")
        );
        Ok(rest)
    }

    #[tokio::test]
    async fn a_tunnel_begins_right_after_the_proxy_s_200_and_nothing_else_is_one() {
        let good = "HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n\r\ntunnelled";
        assert_eq!(through(good).await, Ok(b"\r\ntunnelled".to_vec()));
        for bad in [
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "HTTP/1.1 200",
            "SSH-2.0-x\r\n\r\n",
        ] {
            assert_eq!(through(bad).await, Err("endpoint.proxy"), "{bad}");
        }
    }
}
