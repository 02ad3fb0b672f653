//! The machine's watchdog, if it has one: it resets a guest whose first process no longer runs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// Well below the 30 s that the kernel's drivers start with.
const PERIOD: Duration = Duration::from_secs(10);

/// Keeps the watchdog at `path` from firing for as long as this process lives; true if there is one.
pub(crate) fn keep(path: &Path) -> bool {
    let Ok(mut device) = OpenOptions::new().write(true).open(path) else {
        return false;
    };
    std::thread::spawn(move || {
        // Any byte but `V`, which would switch it off. When this fails, the machine resets, as it should.
        while device.write_all(b".").is_ok() {
            std::thread::sleep(PERIOD);
        }
    });
    true
}
