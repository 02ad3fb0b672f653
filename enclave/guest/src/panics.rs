//! What a panic says: where, never what.

/// From here on a panic anywhere in this process prints the place in the source alone. Its message may quote what the code
/// was working on, and the host reads what a guest prints.
pub fn hide_panic_messages() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(
            || "an unknown place".to_owned(),
            |at| format!("{}:{}", at.file(), at.line()),
        );
        eprintln!("guest.panic: a task failed at {place}; what it worked on is lost");
    }));
}
