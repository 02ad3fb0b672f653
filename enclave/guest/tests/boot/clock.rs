//! The machine's wall clock is the host's. Only its distance from the broker's clock can matter, so the broker's is moved: to the
//! guest that is the same as a host that moved the machine's.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::broker::Mood;
use crate::client::connect;
use crate::world::World;

const YEAR_S: i64 = 366 * 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_a_year_wrong_changes_nothing() {
    for by in [-YEAR_S, YEAR_S] {
        let world = World::new().await;
        world.broker.inner.lock().unwrap().mood = Mood::Clock(by);
        let guest = world.boot().await;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let keyset = guest.ready.keyset.clone();
        let off = wall.checked_add_signed(by).unwrap().abs_diff(keyset.issued_at);
        assert!(off <= 20, "{by}: {off} s from the broker's time");
        assert_eq!(keyset.not_after - keyset.issued_at, 3600, "{by}");
        assert_eq!(keyset.time.as_str(), "host");
        // It serves, and goes on serving: its life is over by the broker's clock alone.
        let mut connection = connect(&guest.ready.address).await;
        let question = r#"{"model":"tiny","messages":[{"role":"user","content":"Capital of France?"}]}"#;
        let (status, body) = connection.post("/v1/chat/completions", question).await;
        let text = String::from_utf8_lossy(&body);
        assert!(status.is_success() && text.contains("Paris"), "{by}: {text}");
        connection.prove(&keyset).await.unwrap();
        drop(connection);
        guest.stop().await.unwrap();
    }
}

/// What runs in the guest names no wall clock at all, so there is none to jump.
#[test]
fn the_guests_sources_name_no_wall_clock() {
    let enclave = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let crates = [
        "channel",
        "device",
        "guest",
        "inference",
        "init",
        "pack",
        "receipts",
        "tdx-attest-rs",
    ];
    let mut read = 0;
    for name in crates {
        for file in sources(&enclave.join(name).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            // The guest's log lines alone carry the wall clock; `tracing` puts it there.
            for word in ["SystemTime", "UNIX_EPOCH", "CLOCK_REALTIME", "Utc::now", "now_utc"] {
                assert!(!text.contains(word), "{}: {word}", file.display());
            }
            read += 1;
        }
    }
    assert!(read > 80, "{read} files");
}

fn sources(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push(path);
        }
    }
    found
}
