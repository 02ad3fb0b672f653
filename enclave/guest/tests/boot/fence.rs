//! One guest on one store, and no older store than the broker knows.

use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use hanzo_guest::GuestError;
use hanzo_kbs_protocol::heads::StoreHead;

use crate::client::connect;
use crate::world::{Running, STORE_KEY, World};

const CHAT: &str = "/v1/chat/completions";

fn head(world: &World) -> StoreHead {
    world.broker.inner.lock().unwrap().heads[STORE_KEY].head
}

async fn ask(guest: &Running) {
    let mut connection = connect(&guest.ready.address).await;
    connection.prove(&guest.ready.keyset).await.unwrap();
    let body = r#"{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"max_tokens":8}"#;
    let (status, answer) = connection.post(CHAT, body).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
}

async fn size_shown(guest: &Running) -> u64 {
    let mut connection = connect(&guest.ready.address).await;
    connection.prove(&guest.ready.keyset).await.unwrap();
    let (status, note) = connection.get("/log/checkpoint").await;
    assert_eq!(status, 200);
    String::from_utf8(note.to_vec())
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// The store's files, as a host copies them.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name.to_str().unwrap().starts_with("guest.db") {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_holds_the_log_before_it_is_shown_and_the_last_head_when_the_guest_has_gone() {
    let world = World::new().await;
    let guest = world.boot().await;
    // The leaf of the keyset.
    assert_eq!((head(&world).size, size_shown(&guest).await), (1, 1));
    ask(&guest).await;
    ask(&guest).await;
    // A head goes to the broker an eighth of a lease later, and is shown then.
    for _ in 0..100 {
        if size_shown(&guest).await == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((head(&world).size, size_shown(&guest).await), (3, 3));
    ask(&guest).await;
    guest.stop().await.unwrap();
    assert_eq!(head(&world).size, 4);
    // It made place: the next boot waits for nobody, and goes on where the log stands.
    let guest = world.boot().await;
    assert_eq!((head(&world).size, size_shown(&guest).await), (5, 5));
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_put_back_is_refused_and_the_newest_one_is_not() {
    let world = World::new().await;
    let dir = world.dir.path().to_owned();
    world.boot().await.stop().await.unwrap();
    copy(&dir, &dir.join("old"));
    let guest = world.boot().await;
    ask(&guest).await;
    guest.stop().await.unwrap();
    copy(&dir, &dir.join("new"));

    copy(&dir.join("old"), &dir);
    let error = world.refused().await;
    assert_eq!(error.code(), "fence.older_store", "{error}");
    assert!(
        error.to_string().contains("has 1 entries") && error.to_string().contains("a head of 3"),
        "{error}"
    );
    // Another history of the same length, and none at all.
    world
        .broker
        .inner
        .lock()
        .unwrap()
        .heads
        .get_mut(STORE_KEY)
        .unwrap()
        .head
        .root
        .0[0] ^= 1;
    copy(&dir.join("new"), &dir);
    assert_eq!(world.refused().await.code(), "fence.other_log");
    world
        .broker
        .inner
        .lock()
        .unwrap()
        .heads
        .get_mut(STORE_KEY)
        .unwrap()
        .head
        .root
        .0[0] ^= 1;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("guest.db") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(world.refused().await.code(), "fence.older_store");

    copy(&dir.join("new"), &dir);
    world.boot().await.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_guest_on_a_store_is_refused_while_the_first_one_lives() {
    let mut world = World::new().await;
    let first = world.boot().await;
    let store = std::mem::replace(&mut world.options.store_path, world.dir.path().join("other.db"));
    let runtime = std::mem::replace(&mut world.options.runtime_dir, world.dir.path().join("run2"));
    let error = world.refused().await;
    assert_eq!((error.code(), error.exit_code()), ("fence.held", 75), "{error}");
    assert!(!world.options.store_path.exists(), "nothing was opened");
    (world.options.store_path, world.options.runtime_dir) = (store, runtime);
    ask(&first).await;
    first.stop().await.unwrap();
    // As many guests as they like, each with a store of its own, if the configuration says so.
    let many = world.config.replace("[store]\n", "[store]\nwriters = \"many\"\n");
    assert_ne!(many, world.config);
    world.configure(many);
    world.options.store_path = world.dir.path().join("third.db");
    let guest = world.boot().await;
    assert_eq!((size_shown(&guest).await, head(&world).size), (1, 2));
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_died_holds_its_lease_to_its_end_and_no_longer() {
    let mut world = World::new().await;
    world.options.limits.lease_s = 2;
    let guest = world.boot().await;
    ask(&guest).await;
    // What a crash leaves: the lease as it is.
    world.broker.inner.lock().unwrap().heads_say = Some((StatusCode::SERVICE_UNAVAILABLE, "kbs.busy"));
    guest.stop().await.unwrap();
    world.broker.inner.lock().unwrap().heads_say = None;
    world.options.limits.lease_wait_s = 20;
    let guest = world.boot().await;
    assert!(
        size_shown(&guest).await >= 3,
        "what the broker had not heard of is there"
    );
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_lease_is_over_stops_serving() {
    let mut world = World::new().await;
    world.options.limits.lease_s = 3;
    let taken = world.boot().await;
    // Another has the store now.
    world
        .broker
        .inner
        .lock()
        .unwrap()
        .heads
        .get_mut(STORE_KEY)
        .unwrap()
        .token += 1;
    let lost = |ended: Result<(), GuestError>| {
        let error = ended.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("fence.lost", 75), "{error}");
        error.to_string()
    };
    assert!(lost(taken.end().await).contains("kbs.head.token"));

    // The broker is away for longer than the lease.
    world.options.limits.lease_wait_s = 20;
    let alone = world.boot().await;
    world.broker.inner.lock().unwrap().heads_say = Some((StatusCode::SERVICE_UNAVAILABLE, "kbs.busy"));
    lost(alone.end().await);
    // Away for a moment is no trouble.
    world.broker.inner.lock().unwrap().heads_say = None;
    let guest = world.boot().await;
    world.broker.inner.lock().unwrap().heads_say = Some((StatusCode::SERVICE_UNAVAILABLE, "kbs.busy"));
    tokio::time::sleep(Duration::from_millis(600)).await;
    world.broker.inner.lock().unwrap().heads_say = None;
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    ask(&guest).await;
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_gives_no_lease_gets_no_guest() {
    let world = World::new().await;
    world.broker.inner.lock().unwrap().heads_say = Some((StatusCode::FORBIDDEN, "kbs.head.no_grant"));
    let error = world.refused().await;
    assert_eq!(error.code(), "kbs.refused", "{error}");
    assert!(error.to_string().contains("kbs.head.no_grant"), "{error}");
    assert!(!world.options.store_path.exists());
}
