//! Making a broker that is interrupted, or fails: nothing is left, or what the next try takes over.

#[path = "../../postgres/tests/support/cluster.rs"]
mod cluster;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use cluster::Cluster;

const BIN: &str = env!("CARGO_BIN_EXE_hanzo-kbs");

fn init(dir: &Path, store: Option<&str>) -> Command {
    let mut command = Command::new(BIN);
    command.args(["init", "--dir"]).arg(dir);
    command.args(store.iter().flat_map(|url| ["--store", url]));
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(dir: &Path) -> Output {
    let config = dir.join("kbs.toml");
    Command::new(BIN)
        .args(["check", "--config"])
        .arg(config)
        .output()
        .unwrap()
}

/// Kills inits at moments spread over the time that one takes; the next one always ends with a broker.
fn killed_and_begun_again(parent: &Path, rounds: u32, store: impl Fn(u32) -> Option<String>) {
    let start = Instant::now();
    let url = store(0);
    assert!(
        init(&parent.join("k0"), url.as_deref())
            .output()
            .unwrap()
            .status
            .success()
    );
    let whole = start.elapsed();
    let (mut taken_over, mut done) = (0, 0);
    for round in 1..=rounds {
        let (dir, url) = (parent.join(format!("k{round}")), store(round));
        let mut child = init(&dir, url.as_deref())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * round / (rounds + 1));
        // SIGKILL: no handler runs, nothing is tidied up.
        child.kill().unwrap();
        child.wait().unwrap();
        let (was_done, was_begun) = (dir.join("kbs.toml").exists(), dir.join("kbs.toml.unfinished").exists());
        assert!(!(was_done && was_begun));
        let again = init(&dir, url.as_deref()).output().unwrap();
        match was_done {
            true => assert!(said(&again).contains("[kbs.init.exists]"), "{again:?}"),
            false => assert!(again.status.success(), "{again:?}"),
        }
        assert_eq!(
            !was_done && was_begun,
            said(&again).contains("interrupted"),
            "{again:?}"
        );
        (taken_over, done) = (taken_over + u32::from(was_begun), done + u32::from(was_done));
        let checked = check(&dir);
        assert!(checked.status.success(), "{checked:?}");
    }
    eprintln!("{rounds} inits of {whole:?} killed: {taken_over} taken over, {done} were done");
    assert!(taken_over > 0);
}

#[test]
fn an_init_killed_midway_is_taken_over_by_the_next() {
    let parent = tempfile::tempdir().unwrap();
    killed_and_begun_again(parent.path(), 8, |_| None);
}

#[test]
fn an_init_killed_midway_leaves_a_database_that_the_next_takes_over() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let parent = tempfile::tempdir().unwrap();
    killed_and_begun_again(parent.path(), 6, |round| Some(cluster.database(&format!("k{round}"))));
}

#[test]
fn only_what_an_interrupted_init_left_is_removed() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("kbs");
    fs::create_dir(&dir).unwrap();
    let (key, unfinished) = (dir.join("kbs.key"), dir.join("kbs.toml.unfinished"));

    // Without the file that an init makes first, a key is somebody's.
    fs::write(&key, [7; 32]).unwrap();
    let refused = init(&dir, None).output().unwrap();
    assert!(said(&refused).contains("[kbs.init.exists]"), "{refused:?}");
    assert_eq!((fs::read(&key).unwrap(), unfinished.exists()), (vec![7; 32], false));
    // Nor does a name that leads nowhere hide from it.
    fs::remove_file(&key).unwrap();
    std::os::unix::fs::symlink("nowhere", &key).unwrap();
    let refused = init(&dir, None).output().unwrap();
    assert!(said(&refused).contains("[kbs.init.exists]"), "{refused:?}");
    fs::remove_file(&key).unwrap();

    // With it, what an init made is removed, and what it never makes is not.
    for name in ["kbs.toml.unfinished", "kbs.key", "kbs.db", ".key-00ff.tmp", "notes.txt"] {
        fs::write(dir.join(name), name).unwrap();
    }
    // While another one is at work nothing is touched.
    let held = File::open(&unfinished).unwrap();
    held.lock().unwrap();
    let refused = init(&dir, None).output().unwrap();
    assert!(said(&refused).contains("[kbs.init.running]"), "{refused:?}");
    assert_eq!(fs::read(&key).unwrap(), b"kbs.key");
    drop(held);
    let made = init(&dir, None).output().unwrap();
    assert!(made.status.success() && said(&made).contains("interrupted"), "{made:?}");
    assert!(check(&dir).status.success());
    assert_eq!(fs::read(dir.join("notes.txt")).unwrap(), b"notes.txt");
    assert!(!unfinished.exists() && !dir.join(".key-00ff.tmp").exists());

    // Of a broker that was made nothing is taken, even if the file were there again.
    let before = fs::read(&key).unwrap();
    fs::write(&unfinished, "").unwrap();
    let refused = init(&dir, None).output().unwrap();
    assert!(said(&refused).contains("[kbs.init.exists]"), "{refused:?}");
    assert_eq!(fs::read(&key).unwrap(), before);
}

#[test]
fn an_init_that_fails_leaves_an_empty_database() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("kbs");
    // The last statement of an init fails.
    cluster.sql(
        "kbs",
        "CREATE SCHEMA watch; CREATE FUNCTION watch.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
         IF obj_description('public.hanzo_store'::regclass) IS NULL THEN RAISE EXCEPTION 'not today'; END IF; END $$;
         CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN ('COMMENT') EXECUTE FUNCTION watch.refuse();",
    );
    let failed = init(&dir, Some(&url)).output().unwrap();
    assert!(said(&failed).contains("not today"), "{failed:?}");
    let left = "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)
        + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)";
    assert_eq!(cluster.sql("kbs", left), "0");
    assert!(!dir.exists(), "and an empty place");
    cluster.sql("kbs", "DROP EVENT TRIGGER refuse");
    let made = init(&dir, Some(&url)).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert!(check(&dir).status.success());

    // A broker's store is never taken, also before its first decision.
    let refused = init(&parent.path().join("other"), Some(&url)).output().unwrap();
    assert!(said(&refused).contains("[store.foreign]"), "{refused:?}");
    // Nor one that was used, whatever its mark says.
    cluster.sql("kbs", "COMMENT ON TABLE hanzo_store IS 'hanzo: unfinished'");
    let config = dir.join("kbs.toml");
    let accepted = Command::new(BIN)
        .args(["accept-head", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(accepted.status.success(), "{accepted:?}");
    cluster.sql("kbs", "COMMENT ON TABLE hanzo_store IS 'hanzo: unfinished'");
    let refused = init(&parent.path().join("other"), Some(&url)).output().unwrap();
    assert!(said(&refused).contains("[store.foreign]"), "{refused:?}");
    assert!(check(&dir).status.success());
}
