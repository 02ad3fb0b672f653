//! A host that changes what lies on its disk.

use hanzo_attestation::Digest256;
use hanzo_tests_adversary::site::{MODEL_DEK, Site};

use crate::engine;

#[tokio::test(flavor = "multi_thread")]
async fn an_older_pack_under_the_same_key_is_not_opened() {
    let site = Site::new(engine::command()).await;
    site.boots().await;
    // The owner sealed it with the very key, for an earlier version of the model.
    let older = site.swap_pack(&MODEL_DEK, "weights of last year");
    let error = site.stops("pack.root").await;
    let said = error.to_string();
    assert!(
        said.contains(&older.to_string()) && said.contains(&site.root.to_string()),
        "{said}"
    );
    site.swap_pack(&MODEL_DEK, "weights");
    site.boots().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_pack_is_not_opened() {
    let site = Site::new(engine::command()).await;
    // The same model, sealed by the host under a key that it knows.
    site.swap_pack(&[0x66; 32], "weights");
    site.stops("pack.table.not_authentic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_of_the_pack_is_found() {
    let site = Site::new(engine::command()).await;
    let genuine = std::fs::read(site.pack()).unwrap();
    for (at, code) in [
        (0, "pack.header"),
        (20, "pack.table.not_authentic"),
        (70, "pack.table.not_authentic"),
        (genuine.len() - 1, "pack.chunk.not_authentic"),
    ] {
        let mut flipped = genuine.clone();
        flipped[at] ^= 1;
        std::fs::write(site.pack(), flipped).unwrap();
        site.stops(code).await;
    }
    std::fs::write(site.pack(), &genuine[..genuine.len() - 1]).unwrap();
    site.stops("pack.truncated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_byte_stops_the_boot() {
    let mut site = Site::new(engine::command()).await;
    let changed = site.config.replace("required_tier = 2", "required_tier = 0");
    std::fs::write(site.dir.path().join("config.toml"), &changed).unwrap();
    site.stops("config.digest_mismatch").await;
    assert!(site.host.passed().is_empty(), "nothing was asked");
    // Launched with the changed configuration, it is another guest: the broker's policy does not know it.
    site.launch.config_digest = Digest256::of(changed.as_bytes());
    let error = site.stops("kbs.refused").await;
    assert!(error.to_string().contains("snp.measurement"), "{error}");
    assert_eq!(site.host.keys_given(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_never_end_or_never_answer_do_not_hold_the_boot() {
    let site = Site::new(engine::command()).await;
    let config = site.dir.path().join("config.toml");
    for (path, code) in [(site.pack(), "pack.header"), (config, "config.digest_mismatch")] {
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|s| s.success()));
        site.stops(code).await;
    }
}
