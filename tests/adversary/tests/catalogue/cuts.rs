//! Any process cut at any point of a request, over every way in: the client gets a code, and nothing partial for whole.
//!
//! Four clients, one a way, are brought to the point at once; then the process is killed. The host holds back bytes of requests
//! or answers where the point lies on the wire, and the engine waits where it lies in the engine.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hanzo_tests_adversary::attack::{Field as _, Saw};
use hanzo_tests_adversary::door::{Door, WayIn};
use hanzo_tests_adversary::role::{Part, Role};
use hanzo_tests_adversary::set::Set;
use hanzo_tests_adversary::tap::{Act, Piece, Unit, Way};
use serde_json::json;

use crate::results;

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    Client,
    Proxy,
    Guest,
    Engine,
    Broker,
}

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    BeforeRequest,
    AfterHeaders,
    MidBody,
    BeforeFirstByte,
    MidStream,
    BeforeLast,
    BeforeReceipt,
}

pub const PROCESSES: [Process; 5] = [
    Process::Client,
    Process::Proxy,
    Process::Guest,
    Process::Engine,
    Process::Broker,
];

pub const POINTS: [(Point, &str); 7] = [
    (Point::BeforeRequest, "before the request"),
    (Point::AfterHeaders, "after the headers"),
    (Point::MidBody, "mid body"),
    (Point::BeforeFirstByte, "before the first byte of the answer"),
    (Point::MidStream, "mid stream"),
    (Point::BeforeLast, "before the last chunk"),
    (Point::BeforeReceipt, "before the receipt"),
];

/// What a client may see. A whole answer is none of it where the process carries or makes the answer.
pub fn expected(process: Process, point: Point) -> &'static [&'static str] {
    match process {
        Process::Client => &["gone"],
        Process::Proxy | Process::Guest => &[
            "endpoint.unreachable",
            "tls.handshake",
            "attestation.answer",
            "channel.exchange",
            "sealed.truncated",
            "http.broken",
        ],
        // It starts again, and a request that it has not seen may be answered whole.
        Process::Engine if matches!(point, Point::BeforeRequest | Point::AfterHeaders | Point::MidBody) => {
            &["engine_unavailable", "engine_loading", "engine_failed", "answered"]
        }
        // The answer had left the engine.
        Process::Engine if point == Point::BeforeReceipt => &["answered"],
        Process::Engine => &[
            "engine_failed",
            "status 502",
            "incomplete",
            "channel.exchange",
            "sealed.truncated",
            "http.broken",
        ],
        // Guests need it to boot, and for nothing else.
        Process::Broker => &["answered"],
    }
}

/// Holds bytes back on the connections that are made or used once it is armed.
struct Gate {
    armed: AtomicBool,
    open: Arc<AtomicBool>,
    held: AtomicUsize,
    way: Mutex<Way>,
    /// How many bytes go on before: by whether the way in is TLS or the whole one.
    allowed: fn(Point, &Piece, bool) -> usize,
    point: Point,
    passed: Mutex<HashMap<(bool, usize), usize>>,
}

impl Gate {
    fn new(point: Point, way: Way) -> Arc<Self> {
        Arc::new(Self {
            armed: AtomicBool::new(false),
            open: Arc::default(),
            held: AtomicUsize::new(0),
            way: Mutex::new(way),
            allowed,
            point,
            passed: Mutex::default(),
        })
    }

    fn act(&self, piece: Piece, is_tls: bool) -> Act {
        let is_held = self.armed.load(Ordering::SeqCst) && piece.way == *self.way.lock().unwrap();
        if !is_held || self.open.load(Ordering::SeqCst) {
            return Act::Pass(piece.bytes);
        }
        let mut passed = self.passed.lock().unwrap();
        let so_far = passed.entry((is_tls, piece.connection)).or_default();
        let now = (self.allowed)(self.point, &piece, is_tls)
            .saturating_sub(*so_far)
            .min(piece.bytes.len());
        *so_far += now;
        if now == piece.bytes.len() {
            return Act::Pass(piece.bytes);
        }
        self.held.fetch_add(1, Ordering::SeqCst);
        Act::Hold(
            piece.bytes[..now].to_vec(),
            self.open.clone(),
            piece.bytes[now..].to_vec(),
        )
    }
}

fn allowed(point: Point, piece: &Piece, is_tls: bool) -> usize {
    match (point, is_tls) {
        (Point::AfterHeaders, true) => 300,
        (Point::AfterHeaders, false) => {
            let head = piece.bytes.windows(4).position(|w| w == b"\r\n\r\n");
            head.map_or(piece.bytes.len(), |at| at + 4)
        }
        (Point::MidBody, true) => 20_000,
        (Point::MidBody, false) => 6_000,
        // The frame with the end of the text, and a part of the one with the receipt; an answer sealed whole is shorter.
        _ => 600,
    }
}

struct Cut<'a> {
    set: &'a Set,
    door: Door,
}

impl Cut<'_> {
    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(15), "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Brings four clients to the point, kills the process, and says what each saw.
    async fn at(&self, process: Process, point: Point) -> Vec<(WayIn, Saw)> {
        let set = self.set;
        let words = match point {
            Point::BeforeRequest => "before",
            Point::AfterHeaders | Point::MidBody => "long",
            Point::BeforeFirstByte => "@first one two",
            Point::MidStream => "@mid one two three four",
            Point::BeforeLast | Point::BeforeReceipt => "@last one two",
        };
        let words = if words == "long" {
            "x".repeat(40_000)
        } else {
            words.to_owned()
        };
        let on_wire = matches!(point, Point::AfterHeaders | Point::MidBody);
        set.go(on_wire || point == Point::BeforeRequest);
        let gate = Gate::new(point, if on_wire { Way::Up } else { Way::Down });
        for (tap, is_tls) in [(&set.tls, true), (&set.clear, false)] {
            let gate = gate.clone();
            tap.script(Unit::Bytes, move |piece| gate.act(piece, is_tls));
        }
        let waits = set.waits();
        let mut asking = Asking::prepare(self, process == Process::Client, &words).await;
        gate.armed.store(on_wire, Ordering::SeqCst);
        if point == Point::BeforeRequest {
            self.kill(process, &mut asking);
        }
        asking.ask();
        match point {
            Point::BeforeRequest => {}
            Point::AfterHeaders | Point::MidBody => {
                self.until("requests held", || gate.held.load(Ordering::SeqCst) >= 4)
                    .await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            _ => self.until("engines waiting", || set.waits() >= waits + 4).await,
        }
        if point == Point::BeforeReceipt {
            gate.armed.store(true, Ordering::SeqCst);
            set.go(true);
            self.until("answers held", || gate.held.load(Ordering::SeqCst) >= 4)
                .await;
        }
        if point != Point::BeforeRequest {
            self.kill(process, &mut asking);
        }
        let is_gone = matches!(process, Process::Proxy | Process::Guest);
        if is_gone && point == Point::BeforeReceipt {
            // What was on the wire is lost with it.
            set.tls.cut_all();
            set.clear.cut_all();
        } else if !is_gone {
            gate.open.store(true, Ordering::SeqCst);
            set.go(true);
        }
        let saw = asking.saw().await;
        gate.open.store(true, Ordering::SeqCst);
        set.go(true);
        set.tls.carry();
        set.clear.carry();
        set.tls.cut_all();
        set.clear.cut_all();
        match process {
            Process::Proxy => set.start_proxy().await,
            Process::Guest => drop(set.boot().await),
            Process::Broker => set.start_broker().await,
            Process::Client | Process::Engine => {}
        }
        saw
    }

    fn kill(&self, process: Process, asking: &mut Asking) {
        match process {
            Process::Client => asking.clients.iter_mut().for_each(|(_, client)| client.kill()),
            Process::Proxy => self.set.kill_proxy(),
            Process::Guest => self.set.stop_guest(),
            Process::Engine => assert!(self.set.kill_engine() >= 1, "an engine ran"),
            Process::Broker => self.set.kill_broker(),
        }
    }

    /// A healthy client, once everything runs again.
    async fn is_well(&self, way: WayIn) {
        let start = Instant::now();
        loop {
            match self.door.ask(way, "well").await {
                Saw::Whole(answer) if self.set.is_right(&answer) => return,
                saw => assert!(start.elapsed() < Duration::from_secs(15), "{}: {saw:?}", way.name()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Clients that have attested the guest.
struct Asking {
    clients: Vec<(WayIn, Part)>,
    here: Vec<(WayIn, hanzo_tests_adversary::door::Prepared)>,
    words: String,
    tasks: Vec<(WayIn, tokio::task::JoinHandle<Saw>)>,
}

impl Asking {
    async fn prepare(cut: &Cut<'_>, are_processes: bool, words: &str) -> Self {
        let (mut clients, mut here) = (Vec::new(), Vec::new());
        for way in WayIn::ALL {
            if are_processes {
                let role = Role::Client(cut.door.clone(), way, words.to_owned());
                let client = Part::start(cut.set.dir.path(), &format!("client-{way:?}"), &role);
                clients.push((way, client));
            } else {
                let prepared = cut.door.prepare(way).await;
                here.push((way, prepared.unwrap_or_else(|saw| panic!("{}: {saw:?}", way.name()))));
            }
        }
        for (way, client) in &mut clients {
            client
                .ready()
                .await
                .unwrap_or_else(|(_, log)| panic!("{}: {log}", way.name()));
        }
        Self {
            clients,
            here,
            words: words.to_owned(),
            tasks: Vec::new(),
        }
    }

    fn ask(&mut self) {
        self.clients.iter().for_each(|(_, client)| client.ask());
        for (way, client) in self.here.drain(..) {
            let words = self.words.clone();
            self.tasks
                .push((way, tokio::spawn(async move { client.ask(&words).await })));
        }
    }

    async fn saw(self) -> Vec<(WayIn, Saw)> {
        let gone = |(way, mut client): (WayIn, Part)| {
            let ended = client.ended().expect("it was killed");
            (way, Saw::refused("gone", ended.to_string()))
        };
        let mut all: Vec<_> = self.clients.into_iter().map(gone).collect();
        for (way, task) in self.tasks {
            let saw = tokio::time::timeout(Duration::from_secs(20), task).await;
            all.push((
                way,
                saw.map_or(Saw::refused("HANGS", "no error in 20 s"), |saw| saw.unwrap()),
            ));
        }
        all
    }
}

async fn cut(process: Process) {
    let set = Set::start().await;
    let door = Door {
        clear: set.clear.at,
        ..set.door.clone()
    };
    let cut = Cut { set: &set, door };
    for way in WayIn::ALL {
        cut.is_well(way).await;
    }
    let (mut lines, mut wrong, mut table) = (Vec::new(), Vec::new(), String::new());
    for (point, name) in POINTS {
        let start = Instant::now();
        let _ = write!(table, "| {process:?} | {name} |");
        for (way, saw) in cut.at(process, point).await {
            println!(
                "cut: {process:?} {name}, {}: the client saw [{}] {:.200}",
                way.name(),
                saw.code(),
                saw.text()
            );
            let _ = write!(table, " `{}` |", saw.code());
            let is_held = expected(process, point).contains(&saw.code());
            if let Saw::Whole(answer) = &saw
                && !set.is_right(answer)
            {
                wrong.push(format!("{name}, {}: a part for the whole: {answer}", way.name()));
            }
            if !is_held {
                wrong.push(format!("{name}, {}: {saw:?}", way.name()));
            }
            lines.push(json!({"process": format!("{process:?}"), "point": name, "way": way.name(), "saw": saw.code(), "held": is_held}));
        }
        table.push('\n');
        cut.is_well(WayIn::ALL[POINTS.iter().position(|p| p.0 == point).unwrap_or(0) % 4])
            .await;
        println!("cut: {process:?} {name}: {:?}", start.elapsed());
    }
    wrong.extend(
        set.leaks()
            .into_iter()
            .map(|leak| format!("readable on the host: {leak}")),
    );
    let dir = results().join("cuts");
    std::fs::create_dir_all(&dir).unwrap();
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.join(format!("{process:?}.jsonl")), lines).unwrap();
    std::fs::write(dir.join(format!("{process:?}.md")), table).unwrap();
    let ways = WayIn::ALL.map(WayIn::name).join(" | ");
    let mut all = format!("| process | point | {ways} |\n|---|---|---|---|---|---|\n");
    for process in PROCESSES {
        all += &std::fs::read_to_string(dir.join(format!("{process:?}.md"))).unwrap_or_default();
    }
    std::fs::write(results().join("cuts.md"), all).unwrap();
    assert!(wrong.is_empty(), "{process:?}:\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cut_anywhere_leaves_a_guest_that_answers_the_next() {
    cut(Process::Client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_cut_anywhere_leaves_clients_a_code_and_no_part_for_the_whole() {
    cut(Process::Proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cut_anywhere_leaves_clients_a_code_and_no_part_for_the_whole() {
    cut(Process::Guest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_cut_anywhere_leaves_clients_a_code_and_no_part_for_the_whole() {
    cut(Process::Engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_cut_anywhere_costs_no_answer() {
    cut(Process::Broker).await;
}

/// The test of each process.
pub fn test_of(process: Process) -> &'static str {
    match process {
        Process::Client => "a_client_cut_anywhere_leaves_a_guest_that_answers_the_next",
        Process::Proxy => "a_proxy_cut_anywhere_leaves_clients_a_code_and_no_part_for_the_whole",
        Process::Guest => "a_guest_cut_anywhere_leaves_clients_a_code_and_no_part_for_the_whole",
        Process::Engine => "an_engine_cut_anywhere_leaves_clients_a_code_and_no_part_for_the_whole",
        Process::Broker => "a_broker_cut_anywhere_costs_no_answer",
    }
}
