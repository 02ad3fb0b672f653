//! The explorer in a browser: what it shows is what the node says, live, and its policy lets it. Needs `chromium`; where there is none
//! this says so loudly and checks nothing. `HANZO_EXPLORER_SHOT=FILE` keeps a picture (PNG in base64).

#[path = "support/node.rs"]
mod node;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hanzo_chain_rpc::{NodeStanding, PeerStanding, ServerConfig};
use node::light::fixture::transfer;
use node::server;
use serde_json::{Value, json};

/// A headless Chromium with one page, asked over its DevTools protocol (RFC 6455, text frames).
struct Browser {
    child: Child,
    stream: BufReader<TcpStream>,
    calls: u64,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// `None` without a browser.
    fn open(url: &str) -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--window-size=1200,1900",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port: u16 = lines.find_map(|line| {
            let (_, rest) = line
                .ok()?
                .split_once("ws://127.0.0.1:")
                .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            rest.split('/').next()?.parse().ok()
        })?;
        // Whatever else it has to say.
        std::thread::spawn(move || lines.for_each(drop));
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
        let path = page_of(port, url);
        let ask = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.get_mut().write_all(ask.as_bytes()).unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the browser ended");
        }
        Some(Self {
            child,
            stream,
            calls: 0,
            _profile: profile,
        })
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let text = json!({"id": id, "method": method, "params": params}).to_string();
        // A client masks what it sends; with zeros that is the text itself.
        let mut frame = vec![0x81, 0xfe];
        frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.stream.get_mut().write_all(&frame).unwrap();
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).unwrap();
            let mut long = [0; 8];
            let bytes = match head[1] & 0x7f {
                126 => {
                    self.stream.read_exact(&mut long[6..]).unwrap();
                    u64::from_be_bytes(long)
                }
                127 => {
                    self.stream.read_exact(&mut long).unwrap();
                    u64::from_be_bytes(long)
                }
                short => u64::from(short),
            };
            let mut message = vec![0; usize::try_from(bytes).unwrap()];
            self.stream.read_exact(&mut message).unwrap();
            let message: Value = serde_json::from_slice(&message).unwrap();
            if message["id"] == id {
                return message["result"].clone();
            }
        }
    }

    fn evaluate(&mut self, script: &str) -> Value {
        let params = json!({"expression": script, "returnByValue": true});
        self.call("Runtime.evaluate", params)["result"]["value"].clone()
    }

    /// Asks until it is so.
    fn until(&mut self, script: &str) {
        for _ in 0..300 {
            if self.evaluate(script) == true {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!(
            "{script} never was true in\n{}",
            self.evaluate("document.body.innerText")
        );
    }
}

/// Where the page's own messages go.
fn page_of(port: u16, url: &str) -> String {
    for _ in 0..100 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let ask = format!("GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let (mut line, mut bytes) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the browser ended");
            let length = line.to_ascii_lowercase();
            if let Some(length) = length.strip_prefix("content-length:") {
                bytes = length.trim().parse().unwrap();
            }
        }
        // It does not hang up by itself.
        let mut body = vec![0; bytes];
        stream.read_exact(&mut body).unwrap();
        let list: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
        let page = list.iter().find(|page| page["url"] == url);
        if let Some(at) = page.and_then(|page| page["webSocketDebuggerUrl"].as_str()) {
            return at.split_once(&port.to_string()).unwrap().1.to_owned();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the browser has no page of {url}");
}

#[test]
fn the_explorer_shows_blocks_validators_supply_and_rewards_in_a_browser_and_grows_with_the_chain() {
    let server = server(ServerConfig::default());
    *server.node.standing.lock().unwrap() = NodeStanding {
        account: Some("0x".into()),
        votes: true,
        view: 41,
        peers: vec![PeerStanding {
            connected: true,
            ..PeerStanding::default()
        }],
        ..NodeStanding::default()
    };
    let first = server.told.w.state.head().height;
    let stop = Arc::new(AtomicBool::new(false));
    let maker = {
        let (node, stop) = (Arc::clone(&server.node), Arc::clone(&stop));
        let w = &server.told.w;
        let tx = w.users[2].tx(&w.network(), w.nonce(2), transfer(&w.users[3], 5));
        node.waiting.lock().unwrap().push(tx);
        std::thread::spawn(move || {
            // As long as the browser looks, however slow it is.
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(300));
                node.produce();
            }
        })
    };
    let url = format!("http://{}/", server.at);
    let looked = Browser::open(&url).map(|mut browser| {
        // Live, and at least three blocks beyond those that were there.
        browser.until("document.getElementById('live').textContent === 'live'");
        let grown = format!(
            "Number(document.querySelector('#blocks button')?.textContent) >= {}",
            first + 3
        );
        browser.until(&grown);
        browser.until("document.querySelectorAll('#validators .good').length === 4");
        if let Ok(path) = std::env::var("HANZO_EXPLORER_SHOT") {
            let shot = browser.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
            std::fs::write(path, shot["data"].as_str().unwrap()).unwrap();
        }
        // Nothing of it is markup that a node could have sent; nothing was refused to the page.
        let text = browser.evaluate("document.body.innerText").as_str().unwrap().to_owned();
        browser.evaluate("document.querySelector('#blocks button').click()");
        browser.until("JSON.parse(document.getElementById('whole').textContent).certificate.votes === 3");
        text
    });
    stop.store(true, Ordering::Relaxed);
    maker.join().unwrap();
    let Some(text) = looked else {
        let _ = writeln!(
            std::io::stderr(),
            "\n*** CHROMIUM MISSING: the explorer is NOT LOOKED AT ***\n"
        );
        return;
    };
    for told in [
        "36963",
        "inference serving",
        "of whom 3 make a block final",
        "1 of 1 peers, view 41",
        "active",
    ] {
        assert!(text.contains(told), "{told} in\n{text}");
    }
    assert!(
        ["pool", "treasury", "accounts", "escrows", "deposits"]
            .iter()
            .all(|place| text.contains(place))
    );
    assert!(!text.contains("did not answer:"), "{text}");
}
