//! A hostile node, compiled by the test without shared libraries: it says what it can still do.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};

fn attempt<T>(name: &str, outcome: io::Result<T>) {
    match outcome {
        Ok(_) => println!("{name} done"),
        Err(error) => println!("{name} {:?}", error.kind()),
    }
}

/// Arguments: `inside` if the root is the sandbox's, an own directory, a file that may be read, one that may not, then ports: own ones, one to call, others'.
fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, place, state, shown, hidden, own, second, peer, other] = &words[..] else {
        panic!("{words:?}");
    };
    let at = |port: &str| format!("127.0.0.1:{port}");
    // An address where nobody else listens: rules are about ports.
    let own_at = |port: &str| format!("127.7.7.7:{port}");
    attempt("bind_own", TcpListener::bind(own_at(own)));
    attempt("bind_second", TcpListener::bind(own_at(second)));
    attempt("bind_other", TcpListener::bind(own_at(other)));
    attempt("bind_any", TcpListener::bind(own_at("0")));
    attempt("call_peer", TcpStream::connect(at(peer)));
    attempt("call_other", TcpStream::connect(at(other)));
    attempt("udp", UdpSocket::bind(at("0")));
    attempt("read_shown", File::open(shown));
    attempt("write_shown", OpenOptions::new().write(true).open(shown));
    for (name, path) in [
        ("read_hidden", hidden.as_str()),
        ("read_shadow", "/etc/shadow"),
        ("read_version", "/proc/version"),
        ("read_init", "/proc/1/environ"),
        ("read_memory", "/dev/mem"),
        ("read_tpm", "/dev/tpm0"),
        ("read_command_line", "/proc/cmdline"),
    ] {
        attempt(name, File::open(path));
    }
    attempt("write_state", fs::write(format!("{state}/file"), b"x"));
    attempt("dir_state", fs::create_dir(format!("{state}/dir")));
    if place == "inside" {
        attempt("write_root", fs::write("/file", b"x"));
        attempt("dir_root", fs::create_dir("/dir"));
    }
    attempt("run_own", std::process::Command::new(&words[0]).spawn());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines() {
        let told = ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:", "CapBnd:", "Uid:", "NoNewPrivs:"];
        if let Some(name) = told.iter().find(|name| line.starts_with(**name)) {
            let values: Vec<_> = line.split_whitespace().skip(1).collect();
            println!("{} {}", name.trim_end_matches(':'), values.join(","));
        }
    }
}
