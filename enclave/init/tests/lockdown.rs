//! Settings are written, read back, and never invented.

use std::fs;
use std::path::Path;

use hanzo_init::lockdown::{BUILT_OUT, SETTINGS, lock_down};

const LOCKDOWN: &str = "sys/kernel/security/lockdown";

fn kernel(dir: &Path, lockdown: &str) {
    for (name, _) in SETTINGS {
        write(&dir.join("proc/sys").join(name), "");
    }
    for (_, file) in BUILT_OUT {
        write(&dir.join(file), "");
    }
    write(&dir.join(LOCKDOWN), lockdown);
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn code(dir: &Path) -> Result<(), &'static str> {
    lock_down(dir).map_err(|e| e.code())
}

#[test]
fn every_setting_shows_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    kernel(dir.path(), "none integrity [confidentiality]\n");
    assert_eq!(code(dir.path()), Ok(()));
    for (name, value) in SETTINGS {
        assert_eq!(
            fs::read_to_string(dir.path().join("proc/sys").join(name)).unwrap(),
            *value
        );
    }
}

#[test]
fn a_kernel_that_lacks_a_setting_is_refused() {
    for (name, _) in SETTINGS {
        let dir = tempfile::tempdir().unwrap();
        kernel(dir.path(), "none integrity [confidentiality]\n");
        fs::remove_file(dir.path().join("proc/sys").join(name)).unwrap();
        assert_eq!(code(dir.path()), Err("init.file"), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    kernel(dir.path(), "");
    fs::remove_file(dir.path().join(LOCKDOWN)).unwrap();
    assert_eq!(code(dir.path()), Err("init.file"));
}

#[test]
fn a_kernel_that_shows_less_than_confidentiality_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // A file keeps what is written into it; the kernel's would show "[confidentiality]" in brackets.
    kernel(dir.path(), "none [integrity] confidentiality\n");
    assert_eq!(code(dir.path()), Err("init.lockdown"));
}

#[test]
fn a_kernel_may_lack_a_setting_together_with_what_it_governs() {
    for (name, file) in BUILT_OUT {
        let dir = tempfile::tempdir().unwrap();
        kernel(dir.path(), "none integrity [confidentiality]\n");
        fs::remove_file(dir.path().join(file)).unwrap();
        // The setting is there: it is applied as ever.
        assert_eq!(code(dir.path()), Ok(()), "{name}");
        for (other, other_file) in BUILT_OUT {
            if other_file == file {
                fs::remove_file(dir.path().join("proc/sys").join(other)).unwrap();
            }
        }
        assert_eq!(code(dir.path()), Ok(()), "{name}");
        write(&dir.path().join(file), "");
        assert_eq!(code(dir.path()), Err("init.file"), "{name}");
    }
}
