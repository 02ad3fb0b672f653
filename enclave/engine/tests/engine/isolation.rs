//! Confinement is all or nothing. What a confined process can still do is `tests/confined.rs`.

use std::path::Path;

use hanzo_engine::isolation::{IsolationError, enforce};

#[test]
fn a_process_with_threads_is_not_confined_by_half() {
    let inside = std::thread::spawn(|| enforce(&[Path::new("/proc")]));
    match inside.join().unwrap() {
        Err(IsolationError::Threads { got }) => assert!(got > 1),
        other => panic!("{other:?}"),
    }
}
