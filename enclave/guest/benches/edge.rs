//! What attested connections and sealed messages cost a guest, beside plain TLS.
//!
//! `cargo bench --profile dist -p hanzo-guest --bench edge`; with `-- --smoke` a few of each, to see that everything works; with
//! `-- --connections` the connections without the requests, with `-- --attested` attested connections alone, for whoever
//! profiles them.
//!
//! The guest is the real one over loopback, booted from a simulated processor; the plain server is rustls with the same key
//! exchange, cipher suites, kind of certificate and runtime, and no tickets. Connections: TCP, handshake, and for the guest
//! the channel proof, asked and checked; closed after that. The plain server with an answer in HTTP (hyper) to a request as
//! long as a proof's shows how much of the difference is any first request's. Clients that ask something are this project's: the
//! end of their handshake leaves with the request. Requests: `GET /v1/models` over one proven connection that
//! stays open, and the same as sealed OHTTP over one connection in clear that stays open.
//!
//! Costs are processor time of the server's threads (from the kernel's accounts), so that clients do not count; each case
//! runs in turns with the others, several times, and medians count.

#[path = "../tests/boot/broker.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod broker;
#[path = "edge/client.rs"]
mod client;
#[path = "../tests/boot/engine.rs"]
mod engine;
#[path = "../tests/boot/client.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod guest_client;
#[path = "../tests/boot/world.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hanzo_channel::proof::RESPONSE_BYTES;
use hanzo_channel::{TlsIdentity, server_config};
use hanzo_guest::ListenAddress;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use client::{Case, Target};
use world::World;

const SERVER_THREADS: &str = "guest";
const CLIENTS: usize = 4;

/// Processor time of the server's threads so far.
fn server_time() -> Duration {
    let mut ns = 0;
    for task in fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").trim() == SERVER_THREADS {
            let time = read("schedstat");
            ns += time.split(' ').next().and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(ns)
}

/// rustls as its documentation sets it up: accept, shake hands, then read until the peer closes and say goodbye, or answer in
/// HTTP.
async fn plain_server(in_http: bool) -> SocketAddr {
    let identity = TlsIdentity::from_seed(&[9; 32]).expect("an identity");
    let acceptor = TlsAcceptor::from(server_config(&identity).expect("a configuration"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                if in_http {
                    let service = service_fn(|request: Request<Incoming>| async {
                        let asked = request.into_body().collect().await?.to_bytes();
                        Ok::<_, hyper::Error>(Response::new(Full::new(asked.slice(..RESPONSE_BYTES))))
                    });
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                } else {
                    let _ = stream.read(&mut [0; 64]).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    address
}

struct Figures {
    per_second: f64,
    /// Microseconds of the server's processor time each.
    cpu_us: f64,
    /// As clients see it, in microseconds.
    p50_us: f64,
    p99_us: f64,
}

/// `each` of a case by each client.
fn measure(target: &Arc<Target>, case: Case, each: usize) -> Figures {
    let (before, started) = (server_time(), Instant::now());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let target = Arc::clone(target);
            std::thread::spawn(move || client::run(&target, case, each))
        })
        .collect();
    let mut times: Vec<Duration> = Vec::new();
    for client in clients {
        times.extend(client.join().expect("a client"));
    }
    let (wall, cpu) = (started.elapsed(), server_time() - before);
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    Figures {
        per_second: times.len() as f64 / wall.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / times.len() as f64,
        p50_us: at(50),
        p99_us: at(99),
    }
}

/// The run in the middle, by what it cost.
fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    runs.swap_remove(runs.len() / 2)
}

fn main() {
    engine::serve_if_asked();
    let smoke = std::env::args().any(|a| a == "--smoke");
    let (turns, each) = if smoke { (1, 20) } else { (7, 500) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name(SERVER_THREADS)
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // Kept to the end: the guest's files lie in it.
    let (_world, guest, plain) = runtime.block_on(async {
        let mut world = World::new().await;
        world.options.sealed = Some("127.0.0.1:0".parse().expect("an address"));
        let guest = world.boot().await;
        (world, guest, [plain_server(false).await, plain_server(true).await])
    });
    let tcp = |address: &ListenAddress| match address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Vsock { .. } => panic!("not TCP"),
    };
    let target = Arc::new(Target {
        plain: plain[0],
        plain_http: plain[1],
        attested: tcp(&guest.ready.address),
        sealed: tcp(guest
            .ready
            .sealed_address
            .as_ref()
            .expect("a listener for sealed messages")),
        keyset: guest.ready.keyset.clone(),
    });
    println!(
        "{CLIENTS} clients on the same cores; medians of {turns} runs of {} each",
        CLIENTS * each
    );

    let asked = |option: &str| std::env::args().any(|a| a == option);
    let cases = match (asked("--attested"), asked("--connections")) {
        (true, _) => &[Case::AttestedConnection][..],
        (false, true) => &Case::ALL[..3],
        (false, false) => &Case::ALL[..],
    };
    let mut runs: Vec<Vec<Figures>> = cases.iter().map(|_| Vec::new()).collect();
    for case in cases {
        measure(&target, *case, each.div_ceil(10));
    }
    for _ in 0..turns {
        for (case, runs) in cases.iter().zip(&mut runs) {
            runs.push(measure(&target, *case, each));
        }
    }
    let medians: Vec<Figures> = runs.into_iter().map(median).collect();
    for (case, figures) in cases.iter().zip(&medians) {
        println!(
            "{:<44} {:>7.0}/s  server {:>6.1} us each  p50 {:>7.0} us  p99 {:>7.0} us",
            case.name(),
            figures.per_second,
            figures.cpu_us,
            figures.p50_us,
            figures.p99_us
        );
    }
    if let [plain, plain_http, attested, ..] = &medians[..] {
        println!(
            "attested connections / plain: {:.2} by the server's processor time (goal 0.75), {:.2} by the clock; {:.0} us more (goal 150)",
            plain.cpu_us / attested.cpu_us,
            attested.per_second / plain.per_second,
            attested.cpu_us - plain.cpu_us
        );
        println!(
            "attested connections / plain with one request: {:.2} by the server's processor time, {:.2} by the clock; {:.0} us more",
            plain_http.cpu_us / attested.cpu_us,
            attested.per_second / plain_http.per_second,
            attested.cpu_us - plain_http.cpu_us
        );
    }
    if let [_, _, _, over_tls, sealed] = &medians[..] {
        println!(
            "a sealed request / the same over TLS: {:.1} times the server's processor time, {:.0} us more",
            sealed.cpu_us / over_tls.cpu_us,
            sealed.cpu_us - over_tls.cpu_us
        );
    }
    runtime.block_on(guest.stop()).expect("a clean end");
}
