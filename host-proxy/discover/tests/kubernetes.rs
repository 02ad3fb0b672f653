//! A small API server that speaks the real list and watch over TLS, what is made of it, and a proxy behind it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_discover::{ApiServer, Port, Service, follow, publish};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn tls_of(ca: &Ca) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["api.test".to_owned()])
        .unwrap()
        .signed_by(&key, ca)
        .unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(
        config
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap(),
    )
}

/// What the server does.
#[derive(Default)]
struct Script {
    /// Answer to a list: status and body.
    list: (u16, String),
    /// Lines for the watch in force; dropping the sender ends it in order.
    watch: Option<mpsc::UnboundedReceiver<String>>,
    /// Request lines and tokens seen.
    seen: Vec<(String, String)>,
}

struct Api {
    server: ApiServer,
    script: Arc<Mutex<Script>>,
    dir: tempfile::TempDir,
    known: watch::Receiver<Option<Vec<std::net::SocketAddr>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Api {
    /// A server with `ca`, and a follower of it that trusts `trusted`.
    async fn start(ca: &Ca, trusted: &Ca, list: (u16, String)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ApiServer {
            at: listener.local_addr().unwrap().to_string(),
            name: "api.test".to_owned(),
            ca_file: file("ca.crt", &trusted.pem()),
            token_file: file("token", "first\n"),
        };
        let script = Arc::new(Mutex::new(Script {
            list,
            ..Script::default()
        }));
        let tls = TlsAcceptor::from(tls_of(ca));
        let shared = script.clone();
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, script) = (tls.clone(), shared.clone());
                open.spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = answer(stream, script).await;
                    }
                });
            }
        });
        let (known, watched) = watch::channel(None);
        let service = Service::new("hanzo", "guest", Port::Named("sealed".into())).unwrap();
        let (followed, socket, told) = (server.clone(), dir.path().join("d.sock"), watched.clone());
        let following = tokio::spawn(async move {
            tokio::select! {
                () = follow(&followed, &service, &known) => {}
                ended = publish(&socket, told) => panic!("{}", ended.unwrap_err()),
            }
        });
        Self {
            server,
            script,
            dir,
            known: watched,
            tasks: vec![accepting, following],
        }
    }

    /// What the next watch says.
    fn watch(&self) -> mpsc::UnboundedSender<String> {
        let (send, receive) = mpsc::unbounded_channel();
        self.script.lock().unwrap().watch = Some(receive);
        send
    }

    async fn knows(&mut self, guests: Option<&[&str]>) {
        let wanted = guests.map(|g| g.iter().map(|g| g.parse().unwrap()).collect());
        let limit = Duration::from_secs(10);
        let seen = tokio::time::timeout(limit, self.known.wait_for(|k| *k == wanted))
            .await
            .is_ok();
        assert!(seen, "never {wanted:?}, but {:?}", *self.known.borrow());
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.script.lock().unwrap().seen.clone()
    }
}

/// HTTP/1.1 as the API server speaks it: lists with a length, watches in chunks.
async fn answer<S: AsyncReadExt + AsyncWriteExt + Unpin>(stream: S, script: Arc<Mutex<Script>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut request, mut token) = (String::new(), String::new());
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => token = value.to_owned(),
                Some(_) => {}
                None => break,
            }
        }
        let is_watch = request.contains("watch=true");
        let (status, list, watch) = {
            let mut script = script.lock().unwrap();
            script.seen.push((request.trim().to_owned(), token));
            let watch = if is_watch { script.watch.take() } else { None };
            (script.list.0, script.list.1.clone(), watch)
        };
        if !is_watch {
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                list.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(list.as_bytes()).await?;
            stream.flush().await?;
            continue;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        match watch {
            Some(mut lines) => {
                while let Some(text) = lines.recv().await {
                    stream
                        .write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
                        .await?;
                    stream.flush().await?;
                }
            }
            None => tokio::time::sleep(Duration::from_secs(30)).await,
        }
        stream.write_all(b"0\r\n\r\n").await?;
        stream.flush().await?;
    }
}

fn slice(name: &str, version: u32, port: u16, endpoints: &[(&str, bool)]) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(ip, ready)| {
            format!(r#"{{"addresses":["{ip}"],"conditions":{{"ready":{ready}}},"targetRef":{{"kind":"Pod"}}}}"#)
        })
        .collect();
    format!(
        r#"{{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{{"name":"{name}","namespace":"hanzo","resourceVersion":"{version}"}},"addressType":"IPv4","endpoints":[{}],"ports":[{{"name":"sealed","protocol":"TCP","port":{port}}}]}}"#,
        endpoints.join(",")
    )
}

fn list(version: u32, slices: &[String]) -> (u16, String) {
    let text = format!(
        r#"{{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{{"resourceVersion":"{version}"}},"items":[{}]}}"#,
        slices.join(",")
    );
    (200, text)
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

const BOOKMARK: &str = r#"{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"40"},"endpoints":null,"ports":null}"#;
const GONE: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}"#;

#[tokio::test]
async fn ready_endpoints_are_followed_through_changes_ends_and_versions_that_are_gone() {
    let ca = authority("cluster");
    let first = slice("g-1", 5, 8443, &[("10.0.0.1", true), ("10.0.0.2", false)]);
    let mut api = Api::start(&ca, &ca, list(10, &[first])).await;
    let watch = api.watch();
    api.knows(Some(&["10.0.0.1:8443"])).await;
    // It becomes ready; another slice comes, in two pieces; the first goes.
    watch
        .send(event(
            "MODIFIED",
            &slice("g-1", 11, 8443, &[("10.0.0.1", true), ("10.0.0.2", true)]),
        ))
        .unwrap();
    api.knows(Some(&["10.0.0.1:8443", "10.0.0.2:8443"])).await;
    let added = event("ADDED", &slice("g-2", 12, 9443, &[("10.0.0.3", true)]));
    let (one, two) = added.split_at(100);
    watch.send(one.to_owned()).unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    watch.send(two.to_owned()).unwrap();
    api.knows(Some(&["10.0.0.1:8443", "10.0.0.2:8443", "10.0.0.3:9443"]))
        .await;
    watch.send(event("DELETED", &slice("g-1", 13, 8443, &[]))).unwrap();
    api.knows(Some(&["10.0.0.3:9443"])).await;

    // The watch ends in order: it goes on at the version that the bookmark named, with the token as it is now.
    watch.send(event("BOOKMARK", BOOKMARK)).unwrap();
    std::fs::write(&api.server.token_file, "second\n").unwrap();
    let next = api.watch();
    drop(watch);
    next.send(event("MODIFIED", &slice("g-2", 41, 9443, &[("10.0.0.4", true)])))
        .unwrap();
    api.knows(Some(&["10.0.0.4:9443"])).await;
    let seen = api.seen();
    assert_eq!(
        seen.iter().filter(|(r, _)| !r.contains("watch=true")).count(),
        1,
        "{seen:?}"
    );
    assert!(seen[0].0.starts_with("GET /apis/discovery.k8s.io/v1/namespaces/hanzo/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dguest HTTP"));
    assert!(
        seen[1].0.contains("resourceVersion=10 ") && seen[1].1 == "Bearer first",
        "{seen:?}"
    );
    assert!(
        seen[2].0.contains("resourceVersion=40 ") && seen[2].1 == "Bearer second",
        "{seen:?}"
    );

    // Too old: listed again, and what was known stays known until then.
    api.script.lock().unwrap().list = list(90, &[slice("g-3", 80, 8443, &[("10.0.0.5", true)])]);
    next.send(event("ERROR", GONE)).unwrap();
    api.known.mark_unchanged();
    let changed = tokio::time::timeout(Duration::from_secs(10), api.known.changed()).await;
    assert!(
        changed.is_ok() && api.known.borrow().is_some(),
        "never unknown in between"
    );
    api.knows(Some(&["10.0.0.5:8443"])).await;
}

#[tokio::test]
async fn who_is_not_the_cluster_s_api_server_or_does_not_speak_its_language_is_not_believed() {
    let (ca, other) = (authority("cluster"), authority("another"));
    let one = || slice("g", 5, 8443, &[("10.0.0.1", true)]);
    // Another authority: no request is sent, so no token.
    let api = Api::start(&ca, &other, list(10, &[one()])).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(api.known.borrow().is_none() && api.seen().is_empty());
    drop(api);
    // A refusal, a part of a list, something else, and more than is held.
    let part = list(10, &[one()])
        .1
        .replace(r#""resourceVersion":"10""#, r#""resourceVersion":"10","continue":"x""#);
    for (status, body) in [
        (403, "{}".to_owned()),
        (200, part),
        (200, "{}".to_owned()),
        (200, " ".repeat(9 * 1024 * 1024)),
        (200, list(10, &[one()]).1.replace("\"10\"", "\"1&limit=1\"")),
    ] {
        let api = Api::start(&ca, &ca, (status, body)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let listed = api.seen().iter().filter(|(r, _)| !r.contains("watch=true")).count();
        assert!(listed >= 1 && api.seen().len() == listed, "no watch after such a list");
    }
    // Events that are none: unknown until listed again.
    for bad in [
        event("CHANGED", &one()),
        event("ADDED", "{}"),
        "{}\n".to_owned(),
        event("ERROR", r#"{"code":500}"#),
        "x".repeat(5 * 1024 * 1024),
    ] {
        let mut api = Api::start(&ca, &ca, list(10, &[one()])).await;
        let watch = api.watch();
        api.knows(Some(&["10.0.0.1:8443"])).await;
        api.script.lock().unwrap().list.0 = 500;
        watch.send(bad).unwrap();
        api.knows(None).await;
        api.script.lock().unwrap().list.0 = 200;
        api.knows(Some(&["10.0.0.1:8443"])).await;
    }
}

#[tokio::test]
async fn lines_are_for_proxies_and_end_when_nothing_is_known() {
    let ca = authority("cluster");
    let mut api = Api::start(&ca, &ca, list(10, &[slice("g", 5, 8443, &[("10.0.0.1", true)])])).await;
    let watch = api.watch();
    api.knows(Some(&["10.0.0.1:8443"])).await;
    let stream = UnixStream::connect(api.dir.path().join("d.sock")).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "1 10.0.0.1:8443");
    watch.send(event("DELETED", &slice("g", 11, 8443, &[]))).unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "1");
    api.script.lock().unwrap().list.0 = 500;
    drop(api.watch());
    watch.send("nonsense\n".to_owned()).unwrap();
    assert_eq!(lines.next_line().await.unwrap(), None, "closed");
}

/// A guest that says its name.
async fn guest(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(name.as_bytes()).await.ok();
                let _ = stream.read(&mut [0; 8]).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_proxy_follows_a_service_from_one_pod_to_the_next() {
    let (a, b) = (guest("a").await, guest("b").await);
    let ca = authority("cluster");
    let api = Api::start(&ca, &ca, list(10, &[slice("g", 5, a, &[("127.0.0.1", true)])])).await;
    let watch = api.watch();
    let config = format!(
        "version = 1\nworkers = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\npool = \"p\"\n[pool.p]\ndiscover = {{ socket = \"{}\" }}\n",
        api.dir.path().join("d.sock").display()
    );
    let config = hanzo_proxy::config::Config::parse(&config).unwrap();
    let (ready, bound) = tokio::sync::oneshot::channel();
    let (_reload, reloads) = mpsc::channel(1);
    let proxy = tokio::spawn(async move {
        let ready = |at: &[hanzo_proxy::Address]| {
            ready.send(at[0]).ok();
        };
        hanzo_proxy::serve_config(config, reloads, std::future::pending(), ready).await
    });
    let hanzo_proxy::Address::Tcp(at) = bound.await.unwrap() else {
        panic!("tcp")
    };
    let who = async || {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let mut name = [b'-'];
        let _ = stream.read(&mut name).await;
        char::from(name[0])
    };
    assert_eq!(who().await, 'a', "waits for the first answer");
    watch
        .send(event("MODIFIED", &slice("g", 11, b, &[("127.0.0.1", true)])))
        .unwrap();
    for _ in 0..500 {
        if who().await == 'b' {
            proxy.abort();
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never b");
}
