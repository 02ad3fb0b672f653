//! Settings are written, read back, and never invented.

use std::fs;
use std::path::Path;

use hanzo_init::lockdown::{SETTINGS, lock_down};

fn kernel(dir: &Path, lockdown: &str) {
    for (name, _) in SETTINGS {
        let path = dir.join("sys").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    fs::create_dir_all(dir.join("security")).unwrap();
    fs::write(dir.join("security/lockdown"), lockdown).unwrap();
}

fn code(dir: &Path) -> Result<(), &'static str> {
    lock_down(&dir.join("sys"), &dir.join("security")).map_err(|e| e.code())
}

#[test]
fn every_setting_shows_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    kernel(dir.path(), "none integrity [confidentiality]\n");
    assert_eq!(code(dir.path()), Ok(()));
    for (name, value) in SETTINGS {
        assert_eq!(fs::read_to_string(dir.path().join("sys").join(name)).unwrap(), *value);
    }
}

#[test]
fn a_kernel_that_lacks_a_setting_is_refused() {
    for (name, _) in SETTINGS {
        let dir = tempfile::tempdir().unwrap();
        kernel(dir.path(), "none integrity [confidentiality]\n");
        fs::remove_file(dir.path().join("sys").join(name)).unwrap();
        assert_eq!(code(dir.path()), Err("init.file"), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    kernel(dir.path(), "");
    fs::remove_file(dir.path().join("security/lockdown")).unwrap();
    assert_eq!(code(dir.path()), Err("init.file"));
}

#[test]
fn a_kernel_that_shows_less_than_confidentiality_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // A file keeps what is written into it; the kernel's would show "[confidentiality]" in brackets.
    kernel(dir.path(), "none [integrity] confidentiality\n");
    assert_eq!(code(dir.path()), Err("init.lockdown"));
}
