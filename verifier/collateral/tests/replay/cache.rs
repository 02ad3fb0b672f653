//! The cache: freshness that is signed, damage, several processes, kills.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::UnixTime;
use hanzo_attestation::snp::Product;
use hanzo_collateral::{Fetcher, FetcherConfig, Key, Mode, Origin, Store, staple};

use crate::server::{Server, ok, status};
use crate::snp::{Guest, NOW, config, fetcher, verify_offline};

const CRL: Key = Key::Crl {
    product: Product::Genoa,
};
const DAY: u64 = 86_400;

struct Rig {
    server: Server,
    guest: Guest,
    dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
        guest.serve(&server);
        Self {
            server,
            guest,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn store(&self) -> Store {
        Store::open(&self.path()).unwrap()
    }

    fn fetcher(&self, edit: impl FnOnce(&mut FetcherConfig)) -> Fetcher {
        let mut config = config(&self.server, &self.guest.processor);
        edit(&mut config);
        fetcher(config, Some(self.store()))
    }

    fn offline(&self) -> Fetcher {
        self.fetcher(|c| c.mode = Mode::Offline)
    }

    fn requests(&self) -> usize {
        self.server.seen().len()
    }
}

#[tokio::test]
async fn what_was_fetched_once_serves_offline() {
    let rig = Rig::new().await;
    let refused = rig.offline().crl(Product::Genoa, NOW).await.unwrap_err();
    assert_eq!(refused.code(), "collateral.offline");
    let first = staple(rig.guest.report(), &rig.fetcher(|_| {}), NOW).await.unwrap();
    let requests = rig.requests();
    let second = staple(rig.guest.report(), &rig.offline(), NOW).await.unwrap();
    assert_eq!(second.bytes, first.bytes);
    assert!(
        second.carries.iter().all(|w| w.origin == Origin::Cache),
        "{:?}",
        second.carries
    );
    verify_offline(&second, &rig.guest.processor);
    staple(rig.guest.report(), &rig.fetcher(|_| {}), NOW).await.unwrap();
    assert_eq!(rig.requests(), requests, "and nothing is fetched twice");
}

#[tokio::test]
async fn a_list_past_its_signed_end_is_fetched_anew_or_refused_offline() {
    let rig = Rig::new().await;
    rig.fetcher(|_| {}).crl(Product::Genoa, NOW).await.unwrap();
    let later = UnixTime(NOW.0 + 31 * DAY);
    let refused = rig.offline().crl(Product::Genoa, later).await.unwrap_err();
    assert_eq!(refused.code(), "collateral.offline_unusable");
    assert!(refused.to_string().contains("nextUpdate"), "{refused}");
    // The service still has the old one: that is not passed on either.
    let refused = rig.fetcher(|_| {}).crl(Product::Genoa, later).await.unwrap_err();
    assert_eq!(refused.code(), "snp.crl.stale");
    let newer = rig.guest.processor.crl_der(later);
    rig.server.on(&rig.guest.crl_path(), [ok(newer.clone())]);
    let item = rig.fetcher(|_| {}).crl(Product::Genoa, later).await.unwrap();
    assert_eq!((item.bytes, item.origin), (newer, Origin::Fetched));
}

#[tokio::test]
async fn http_dates_decide_nothing() {
    let rig = Rig::new().await;
    let reply = ok(rig.guest.processor.crl_der(NOW))
        .header("cache-control", "no-store, max-age=0")
        .header("expires", "Thu, 01 Jan 1970 00:00:00 GMT");
    rig.server.on(&rig.guest.crl_path(), [reply]);
    rig.fetcher(|_| {}).crl(Product::Genoa, NOW).await.unwrap();
    assert_eq!(
        rig.offline().crl(Product::Genoa, NOW).await.unwrap().origin,
        Origin::Cache
    );
}

#[tokio::test]
async fn near_its_end_an_item_is_fetched_ahead_and_used_if_that_fails() {
    let rig = Rig::new().await;
    let ahead = |c: &mut FetcherConfig| c.refresh_ahead_s = 2 * DAY;
    rig.fetcher(ahead).crl(Product::Genoa, NOW).await.unwrap();
    let near = UnixTime(NOW.0 + 29 * DAY);
    rig.server.on(&rig.guest.crl_path(), [status(404)]);
    let item = rig.fetcher(ahead).crl(Product::Genoa, near).await.unwrap();
    assert_eq!((item.origin, rig.requests()), (Origin::Cache, 2));
    rig.server
        .on(&rig.guest.crl_path(), [ok(rig.guest.processor.crl_der(near))]);
    let item = rig.fetcher(ahead).crl(Product::Genoa, near).await.unwrap();
    assert_eq!(
        (item.origin, item.next_update),
        (Origin::Fetched, Some(UnixTime(near.0 + 30 * DAY)))
    );
    assert_eq!(
        rig.fetcher(ahead).crl(Product::Genoa, near).await.unwrap().origin,
        Origin::Cache
    );
}

#[tokio::test]
async fn prefetch_renews_what_ends_soon_and_leaves_the_rest() {
    let rig = Rig::new().await;
    staple(rig.guest.report(), &rig.fetcher(|_| {}), NOW).await.unwrap();
    let requests = rig.requests();
    assert!(rig.fetcher(|_| {}).prefetch(7 * DAY, NOW).await.unwrap().is_empty());
    assert_eq!(rig.requests(), requests);
    let later = UnixTime(NOW.0 + 25 * DAY);
    rig.server
        .on(&rig.guest.crl_path(), [ok(rig.guest.processor.crl_der(later))]);
    let renewed = rig.fetcher(|_| {}).prefetch(7 * DAY, later).await.unwrap();
    let [(key, outcome)] = renewed.as_slice() else {
        panic!("{renewed:?}")
    };
    assert_eq!((key, outcome.as_ref().unwrap().origin), (&CRL, Origin::Fetched));
}

/// The one object that is kept.
fn object(dir: &Path) -> PathBuf {
    let mut objects: Vec<_> = fs::read_dir(dir.join("objects"))
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .collect();
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

#[tokio::test]
async fn damage_is_noticed_and_mended() {
    let rig = Rig::new().await;
    let whole = rig.fetcher(|_| {}).crl(Product::Genoa, NOW).await.unwrap().bytes;
    let damages: [(&str, &dyn Fn()); 4] = [
        ("a flipped bit", &|| {
            let mut bytes = whole.clone();
            bytes[40] ^= 1;
            fs::write(object(&rig.path()), bytes).unwrap();
        }),
        ("half a file", &|| {
            fs::write(object(&rig.path()), &whole[..100]).unwrap()
        }),
        ("no file", &|| fs::remove_file(object(&rig.path())).unwrap()),
        ("half an index", &|| {
            fs::write(rig.path().join("index.json"), "{\"version\":1,").unwrap()
        }),
    ];
    for (what, damage) in damages {
        damage();
        let refused = rig.offline().crl(Product::Genoa, NOW).await.unwrap_err();
        assert_eq!(refused.code(), "collateral.offline", "{what}");
        let mended = rig.fetcher(|_| {}).crl(Product::Genoa, NOW).await.unwrap();
        assert_eq!(mended.origin, Origin::Fetched, "{what}");
        assert_eq!(
            rig.offline().crl(Product::Genoa, NOW).await.unwrap().bytes,
            whole,
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_object_that_somebody_put_there_proves_itself_or_is_not_used() {
    let rig = Rig::new().await;
    // Right digest, wrong content: a list by a forger's root, entered through the front door.
    let forged = hanzo_simulated_tee::SimulatedProcessor::for_tests()
        .with_swapped_keys()
        .crl_der(NOW);
    rig.store().put(&CRL, &forged).unwrap();
    let refused = rig.offline().crl(Product::Genoa, NOW).await.unwrap_err();
    assert_eq!(refused.code(), "collateral.offline_unusable");
    assert_eq!(
        rig.fetcher(|_| {}).crl(Product::Genoa, NOW).await.unwrap().origin,
        Origin::Fetched
    );
}

#[test]
fn files_are_the_owners_alone_and_a_directory_that_is_not_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/cache");
    let store = Store::open(&path).unwrap();
    store.put(&CRL, b"list").unwrap();
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(&path), mode(&path.join("objects"))], [0o700; 2]);
    for file in [object(&path), path.join("index.json"), path.join("lock")] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    store.put(&CRL, b"newer list").unwrap();
    assert_eq!(
        fs::read(object(&path)).unwrap(),
        b"newer list",
        "the old object is swept"
    );
    store.remove(&CRL).unwrap();
    assert_eq!(store.get(&CRL).unwrap(), None);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(Store::open(&path).unwrap_err().code(), "cache.mode");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(Store::open(&file).unwrap_err().code(), "cache.io");
}

/// The other process of the two tests below: this very test binary, told what to do by its environment.
const ROLE: &str = "HANZO_TEST_CACHE_WRITER";

#[test]
fn writer_process() {
    let Some(dir) = std::env::var_os(ROLE) else { return };
    let store = Store::open(Path::new(&dir)).unwrap();
    let who = std::process::id();
    let forever = std::env::var_os("HANZO_TEST_FOREVER").is_some();
    let mut n = 0_u32;
    while forever || n < 12 {
        let key = Key::Rim {
            id: format!("W{who}_{}", n % 12),
        };
        store.put(&key, format!("{who} {n}").repeat(2000).as_bytes()).unwrap();
        n += 1;
    }
}

fn writer(dir: &Path, forever: bool) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "cache::writer_process"])
        .env(ROLE, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if forever {
        command.env("HANZO_TEST_FOREVER", "1");
    }
    command.spawn().unwrap()
}

#[test]
fn two_processes_at_once_lose_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let store = Store::open(&path).unwrap();
    let mut writers = [writer(&path, false), writer(&path, false)];
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    let keys = store.keys().unwrap();
    assert_eq!(keys.len(), 24);
    for key in &keys {
        assert!(store.get(key).unwrap().is_some(), "{key}");
    }
}

#[test]
fn a_process_that_is_killed_leaves_no_half_file_and_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let store = Store::open(&path).unwrap();
    for round in 0..5_u64 {
        let mut child = writer(&path, true);
        std::thread::sleep(Duration::from_millis(40 + 7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for key in store.keys().unwrap() {
            assert!(store.get(&key).unwrap().is_some(), "{key} is half there");
        }
    }
    store.put(&CRL, b"list").unwrap();
    let temporary = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().flatten().map(|e| e.file_name());
        names.filter(|n| n.to_string_lossy().ends_with(".tmp")).count()
    };
    assert_eq!(temporary(&path) + temporary(&path.join("objects")), 0);
}

#[tokio::test]
async fn two_fetchers_at_once_share_one_cache() {
    let rig = Rig::new().await;
    let (a, b) = (Arc::new(rig.fetcher(|_| {})), Arc::new(rig.fetcher(|_| {})));
    let (one, two) = tokio::join!(staple(rig.guest.report(), &a, NOW), staple(rig.guest.report(), &b, NOW));
    assert_eq!(one.unwrap().bytes, two.unwrap().bytes);
    assert!(
        staple(rig.guest.report(), &rig.offline(), NOW)
            .await
            .unwrap()
            .missing
            .is_empty()
    );
}
