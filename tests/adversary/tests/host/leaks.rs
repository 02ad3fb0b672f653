//! What stays behind: nothing of a prompt or an answer in what passes, in any file of the appliance, or in the client's.

use std::path::Path;

use hanzo_tests_adversary::appliance::Appliance;
use hanzo_tests_adversary::wire::{Attack, HostileProxy};

use crate::engine;
use crate::wire::{CANARY, ask};

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_in_no_byte_that_passes_and_in_no_file_that_stays() {
    let appliance = Appliance::start(engine::command()).await;
    let state = tempfile::tempdir().unwrap();
    let proxy = HostileProxy::start(appliance.guest_at, Attack::None).await.unwrap();
    let client = appliance.client_with(proxy.at, |config| config.state_dir = Some(state.path().join("client")));
    assert!(ask(&client).await.unwrap().contains(CANARY));
    assert!(!proxy.saw(CANARY));
    let mut files = 0;
    for dir in [appliance.dir.path(), state.path()] {
        files += search(dir);
    }
    assert!(files > 5, "only {files} files were looked at");
}

fn search(dir: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files += search(&path);
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                !bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()),
                "{}",
                path.display()
            );
            files += 1;
        }
    }
    files
}
