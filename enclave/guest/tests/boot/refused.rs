//! One thing changed, one reason named.

use hanzo_attestation::name::Name;

use crate::broker::Mood;
use crate::world::{World, seal_model};

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_byte_stops_the_boot_before_anything_is_asked() {
    let world = World::new().await;
    let changed = world.config.replace("required_tier = 2", "required_tier = 1");
    std::fs::write(&world.options.config_path, changed).unwrap();
    assert_eq!(world.refused().await.code(), "config.digest_mismatch");
    assert!(world.broker.inner.lock().unwrap().replies.is_empty());
    std::fs::remove_file(&world.options.config_path).unwrap();
    assert_eq!(world.refused().await.code(), "config.file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_the_pinned_one_gets_nowhere() {
    let world = World::new().await;
    world.broker.set(Mood::Foreign);
    assert_eq!(world.refused().await.code(), "kbs.not_pinned");
    world.broker.set(Mood::Refuse);
    let error = world.refused().await;
    assert_eq!(error.code(), "kbs.refused");
    assert!(
        error.to_string().contains("snp.debug: the guest is debuggable"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_grant_opens_nothing() {
    let world = World::new().await;
    world.boot().await.stop().await.unwrap();
    let replies = world.broker.inner.lock().unwrap().replies.clone();
    assert_eq!(replies.len(), 2);
    world.broker.set(Mood::Replay(replies));
    assert_eq!(world.refused().await.code(), "grant.nonce");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_less_or_for_something_else_stops_the_boot() {
    let world = World::new().await;
    for tier in [0, 1] {
        world.broker.set(Mood::Tier(tier));
        assert_eq!(world.refused().await.code(), "grant.tier");
    }
    world.broker.set(Mood::Subject(Name::new(&"00".repeat(32)).unwrap()));
    assert_eq!(world.refused().await.code(), "grant.subject");
    world.broker.set(Mood::SecondGrantLate(3600));
    assert_eq!(world.refused().await.code(), "grant.clock");
    world.broker.set(Mood::Honest);
    world.boot().await.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pack_under_the_same_key_is_not_opened() {
    let world = World::new().await;
    let pack = world.options.packs.join("tiny.pack");
    let genuine = std::fs::read(&pack).unwrap();
    std::fs::remove_file(&pack).unwrap();
    // Same DEK, other content: an older version of the model, say.
    seal_model(&world.dir, "other", &pack);
    let error = world.refused().await;
    assert!(error.code().starts_with("pack."), "{}: {error}", error.code());

    let mut flipped = genuine.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, &flipped).unwrap();
    let error = world.refused().await;
    assert!(error.code().starts_with("pack."), "{}: {error}", error.code());

    std::fs::write(&pack, &genuine).unwrap();
    world.boot().await.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_of_a_key_than_the_store_has_seen_is_not_used() {
    use crate::world::{MODEL_KEY, STORE_KEY};
    let world = World::new().await;
    let now_in = |key: &str, version| world.broker.inner.lock().unwrap().keys.get_mut(key).unwrap().version = version;
    now_in(MODEL_KEY, 0);
    assert_eq!(world.refused().await.code(), "grant.version", "versions start at 1");
    for version in [2, 2, 3] {
        now_in(MODEL_KEY, version);
        world.boot().await.stop().await.unwrap();
    }
    for key in [MODEL_KEY, STORE_KEY] {
        now_in(key, 5);
        world.boot().await.stop().await.unwrap();
        now_in(key, 4);
        let error = world.refused().await;
        assert_eq!(error.code(), "grant.version", "{error}");
        assert!(error.to_string().contains(key), "{error}");
        now_in(key, 5);
        world.boot().await.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_under_another_key_is_not_opened() {
    let world = World::new().await;
    world.boot().await.stop().await.unwrap();
    world
        .broker
        .inner
        .lock()
        .unwrap()
        .keys
        .get_mut(crate::world::STORE_KEY)
        .unwrap()
        .dek = [9; 32];
    let error = world.refused().await;
    assert!(error.code().starts_with("store."), "{}: {error}", error.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_breaks_at_start_ends_the_boot_with_its_last_lines() {
    let broken = World::with_engine_mode("broken").await;
    let error = broken.refused().await;
    assert_eq!(error.code(), "engine.ended_early");
    assert!(error.to_string().contains("cannot read tensor blk.0"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_missing_broker_are_named() {
    let mut world = World::new().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.options.listen = taken.local_addr().unwrap().into();
    assert_eq!(world.refused().await.code(), "listen.bind");
    world.options.listen = "127.0.0.1:0".parse().unwrap();
    world.options.kbs_addr = "127.0.0.1:1".into();
    assert_eq!(world.refused().await.code(), "kbs.unreachable");
}
