//! Real full disks, of a few MiB: the broker says so, releases nothing, loses nothing, and goes on when there is room again.
//!
//! Needs root or another way to mount in a namespace of its own, and says loudly where it has none.

#[path = "support/harness.rs"]
mod harness;
#[path = "support/load.rs"]
mod load;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use hanzo_kbs::{InitOptions, KbsConfig, KbsError, StoreMode, backup, check, export_audit, init, restore};
use harness::{Broker, Guest, policy};

const KEY: &str = "hanzo/dek/m";
const PLACE: &str = "HANZO_FULL_DISK";
/// What `sh` says if nothing could be mounted.
const NO_MOUNT: i32 = 77;
const DISKS: [&str; 3] = ["store", "fence", "out"];

const TMPFS: &str = r#"for d in store fence out; do mount -t tmpfs -o size=4m,mode=700 hanzo-test "$HANZO_FULL_DISK/$d" || exit 77; done
exec "$0" "$@""#;
const EXT4: &str = r#"for d in store fence out; do
    truncate -s 6M "$HANZO_FULL_DISK/$d.img" && mkfs.ext4 -q -F -m 0 "$HANZO_FULL_DISK/$d.img" \
        && mount -o loop "$HANZO_FULL_DISK/$d.img" "$HANZO_FULL_DISK/$d" || exit 77
done
exec "$0" "$@""#;

/// Runs the test below in a mount namespace of its own, which goes with it.
fn with_disks(file_system: &str, script: &str) {
    let place = tempfile::tempdir().unwrap();
    for disk in DISKS {
        fs::create_dir(place.path().join(disk)).unwrap();
    }
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["on_small_disks", "--exact", "--nocapture"])
        .env(PLACE, place.path())
        .output();
    let said = match &output {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned(),
        Err(e) => e.to_string(),
    };
    let mounted =
        matches!(&output, Ok(output) if output.status.code() != Some(NO_MOUNT)) && !said.starts_with("unshare:");
    assert!(!mounted, "{file_system}: {said}");
    let _ = writeln!(
        std::io::stderr(),
        "NOT TESTED: a full {file_system}: it cannot be mounted here (root, unshare and mount are needed): {said}"
    );
}

#[test]
fn a_full_memory_disk_is_told_and_survived() {
    with_disks("tmpfs", TMPFS);
}

#[test]
fn a_full_ext4_is_told_and_survived() {
    with_disks("ext4", EXT4);
}

/// What takes up all room of a disk but some pages of 4096 bytes.
struct Ballast(PathBuf);

impl Ballast {
    fn leaving(disk: &Path, pages: usize) -> Self {
        let path = disk.join("ballast");
        let mut file = File::create(&path).unwrap();
        let page = [0xA5; 4096];
        let mut wrote = 0;
        // Small disks have small blocks.
        for piece in [&page[..], &page[..512]] {
            while let Ok(n) = file.write(piece) {
                wrote += n;
            }
        }
        // What was promised to a file may be refused when it comes to the disk.
        let _ = file.sync_all();
        file.set_len(wrote.saturating_sub(pages * 4096) as u64).unwrap();
        let _ = file.sync_all();
        Self(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn full<T>(outcome: Result<T, KbsError>) {
    match outcome {
        Ok(_) => panic!("there was room"),
        Err(e) => assert_eq!(e.code(), "store.disk_full", "{e}"),
    }
}

/// The lines of a broker that does not run, and how many of them are grants.
fn decisions(config: &KbsConfig, mode: StoreMode) -> (usize, usize) {
    let (mut lines, mut grants) = (0, 0);
    check(config, mode, |line| {
        lines += 1;
        grants += usize::from(line.contains(r#""action":"grant""#));
    })
    .unwrap();
    (lines, grants)
}

/// Not a test by itself: what happens on the disks that were mounted for it.
#[test]
fn on_small_disks() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let place = PathBuf::from(place);
    let disk = |name: &str| place.join(name);
    let (store, fence, out) = (disk("store"), disk("fence"), disk("out"));
    let mut broker = Broker::simulated();
    broker.stop();
    // The store moves to the first disk, its fence to the second.
    let name = broker.config.store.file_name().unwrap().to_owned();
    for end in ["", ".lock"] {
        let mut file = name.clone();
        file.push(end);
        fs::copy(broker.config.store.with_file_name(&file), store.join(&file)).unwrap();
    }
    broker.config.store = store.join(&name);
    broker.config.head_file = fence.join("kbs.head");
    broker.restart().unwrap();
    let mut many = policy();
    many.max_uses = 1000;
    broker.put(KEY, 1, &many).unwrap();

    let granted = a_full_store(&mut broker, &store);
    let granted = granted + a_full_fence(&mut broker, &fence, granted);
    a_full_place_for_copies(&mut broker, &out);
    assert_eq!(decisions(&broker.config, broker.mode).1, granted);
    a_full_place_to_begin(&out);
}

/// With no room, little room, and just enough: a key leaves if its decision is on the disk, or nothing happened.
fn a_full_store(broker: &mut Broker, disk: &Path) -> usize {
    let (mut granted, mut refused, mut put) = (0, 0, 1);
    for pages in [0, 1, 2, 4, 7, 11, 16, 0, 3, 5, 24] {
        let guest = Guest::new().attested(broker.address);
        let ballast = Ballast::leaving(disk, pages);
        let mut was_refused = false;
        for _ in 0..8 {
            let reply = guest.ask(broker.address, KEY);
            if reply.status == 200 {
                granted += 1;
                break;
            }
            if was_refused && reply.status == 403 {
                panic!("{pages} pages: a use was counted and not given: {}", reply.text());
            }
            assert_eq!(reply.error(), (507, "store.disk_full".into()), "{pages} pages");
            assert!(!reply.text().contains("ciphertext"));
            (was_refused, refused) = (true, refused + 1);
        }
        let name = format!("hanzo/dek/p{put}");
        match broker.put(&name, 1, &policy()) {
            Ok(()) => put += 1,
            Err(e) => {
                assert_eq!(e.code(), "store.disk_full", "{pages} pages: {e}");
                was_refused = true;
                refused += 1;
            }
        }
        drop(ballast);
        // Room again: the same request, the same session, nothing was used up meanwhile.
        if was_refused {
            let again = guest.ask(broker.address, KEY);
            match again.status {
                200 => granted += 1,
                _ => assert_eq!(again.error(), (403, "kbs.grant.repeated".into())),
            }
            let _ = broker.put(&name, 1, &policy()).map(|()| put += 1);
        }
    }
    assert!(refused > 4 && granted > 8, "{refused} refused, {granted} granted");
    let (lines, grants) = {
        broker.stop();
        // Opened while it is full: at worst the same answer, and no damage.
        let ballast = Ballast::leaving(disk, 0);
        if let Err(e) = broker.restart() {
            assert_eq!(e.code(), "store.disk_full", "{e}");
        }
        broker.stop();
        drop(ballast);
        decisions(&broker.config, broker.mode)
    };
    assert_eq!(grants, granted);
    // new-kek, the puts, the grants, and refusals of requests that came again.
    assert!(lines > put + granted, "{lines}");
    broker.restart().unwrap();
    granted
}

/// A decision that the fence does not hold is kept, and does not leave.
fn a_full_fence(broker: &mut Broker, disk: &Path, before: usize) -> usize {
    // One that is there is written in place and needs no room.
    {
        let guest = Guest::new().attested(broker.address);
        let _ballast = Ballast::leaving(disk, 0);
        assert_eq!(guest.ask(broker.address, KEY).status, 200);
    }
    load::of_earlier_version(&broker.config.head_file);
    let head = fs::read(&broker.config.head_file).unwrap();
    let guest = Guest::new().attested(broker.address);
    let ballast = Ballast::leaving(disk, 0);
    let reply = guest.ask(broker.address, KEY);
    assert_eq!(reply.error(), (507, "store.disk_full".into()));
    let refused = broker.put("hanzo/dek/late", 1, &policy()).unwrap_err();
    assert_eq!(refused.code(), "store.disk_full");
    assert_eq!(fs::read(&broker.config.head_file).unwrap(), head, "not half a line");
    drop(ballast);
    assert_eq!(
        guest.ask(broker.address, KEY).error(),
        (403, "kbs.grant.repeated".into())
    );
    assert_eq!(
        Guest::new().attested(broker.address).ask(broker.address, KEY).status,
        200
    );
    assert_eq!(
        broker.put("hanzo/dek/late", 1, &policy()).unwrap_err().code(),
        "kbs.admin.version"
    );
    broker.stop();
    let (_, grants) = decisions(&broker.config, broker.mode);
    // The one that did not leave is on the record.
    assert_eq!(grants, before + 3);
    broker.restart().unwrap();
    3
}

/// Backups and exports are whole or not there; putting one back changes nothing before it is whole.
fn a_full_place_for_copies(broker: &mut Broker, disk: &Path) {
    let (config, mode) = (&broker.config, broker.mode);
    let is_empty = || {
        fs::read_dir(disk)
            .unwrap()
            .all(|e| ["ballast", "lost+found"].contains(&&*e.unwrap().file_name().to_string_lossy()))
    };
    for pages in [0, 3, 20] {
        let ballast = Ballast::leaving(disk, pages);
        full(backup(config, mode, &disk.join("copy.db")));
        assert!(is_empty(), "{pages} pages: half a backup");
        drop(ballast);
    }
    let copy = disk.join("copy.db");
    backup(config, mode, &copy).unwrap();
    broker.stop();
    let (config, mode) = (&broker.config, broker.mode);
    let kept = fs::read(&config.store).unwrap();
    {
        let _ballast = Ballast::leaving(config.store.parent().unwrap(), 2);
        full(restore(config, mode, &copy, false));
        assert_eq!(fs::read(&config.store).unwrap(), kept);
    }
    restore(config, mode, &copy, false).unwrap();
    for entry in fs::read_dir(disk).unwrap().flatten().filter(|e| e.path().is_file()) {
        fs::remove_file(entry.path()).unwrap();
    }
    for pages in [0, 3] {
        let ballast = Ballast::leaving(disk, pages);
        full(export_audit(config, mode, &disk.join("log"), |_, _| {}));
        drop(ballast);
    }
    // The same name: nothing of the first tries is in its way.
    export_audit(config, mode, &disk.join("log"), |_, _| {}).unwrap();
    fs::remove_dir_all(disk.join("log")).unwrap();
}

fn a_full_place_to_begin(disk: &Path) {
    let options = InitOptions {
        dir: disk.join("kbs"),
        listen: "127.0.0.1:0".parse().unwrap(),
        mode: StoreMode::Production,
        simulator_roots: Vec::new(),
    };
    for pages in [1, 4, 8, 12, 30] {
        let ballast = Ballast::leaving(disk, pages);
        let Err(e) = init(&options) else {
            panic!("there was room")
        };
        assert!(
            e.to_string().contains("disk is full") || e.to_string().contains("No space left"),
            "{pages} pages: {e}"
        );
        assert!(!options.dir.exists(), "{pages} pages: half a broker");
        drop(ballast);
    }
    init(&options).unwrap();
}
