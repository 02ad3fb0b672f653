//! What a confined process can still do. Its own process with one thread (`harness = false`): confining cannot be undone.

use std::fs::File;
use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use hanzo_engine_process::isolation::enforce;

const EPERM: i32 = 1;
const EACCES: i32 = 13;

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        println!("confined: test");
        return;
    }
    // Nothing can be removed once confined: a child does the checks, this process tidies up.
    let Some(dir) = std::env::var_os("HANZO_CONFINED") else {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("weights"), b"bytes").unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .env("HANZO_CONFINED", dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        return;
    };
    check(Path::new(&dir));
}

fn check(dir: &Path) {
    let outside = File::open("/etc/passwd");
    assert!(outside.is_ok(), "readable before");
    enforce(&[dir]).unwrap();

    // Network: no socket at all, not even one to loopback; no way to another process's Unix socket.
    let errno = |error: std::io::Error| error.raw_os_error();
    assert_eq!(
        TcpStream::connect("127.0.0.1:9").map_err(errno).err(),
        Some(Some(EPERM))
    );
    assert_eq!(UdpSocket::bind("[::1]:0").map_err(errno).err(), Some(Some(EPERM)));
    assert_eq!(UnixStream::connect("/nowhere").map_err(errno).err(), Some(Some(EPERM)));
    assert!(UnixStream::pair().is_ok(), "AF_UNIX pairs stay: the runtime needs them");

    // Files: what was named can be read, nothing else, and nothing can be written.
    let mut text = String::new();
    File::open(dir.join("weights"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "bytes");
    assert_eq!(File::open("/etc/passwd").map_err(errno).err(), Some(Some(EACCES)));
    assert_eq!(std::fs::read_dir("/").map_err(errno).err(), Some(Some(EACCES)));
    assert_eq!(File::create(dir.join("new")).map_err(errno).err(), Some(Some(EACCES)));
    assert_eq!(
        std::fs::remove_file(dir.join("weights")).map_err(errno).err(),
        Some(Some(EACCES))
    );

    // Programs: none. Threads: yes.
    assert!(Command::new("/bin/true").spawn().is_err());
    assert!(
        std::thread::spawn(|| TcpStream::connect("127.0.0.1:9").is_err())
            .join()
            .unwrap()
    );

    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    println!("test confined ... ok");
}
