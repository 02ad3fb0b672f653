//! A progress bar on standard error; silent when it is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// One bar; it disappears when dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Counts bytes.
    pub(crate) fn bytes(what: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{msg:24} [{bar:32}] {bytes}/{total_bytes} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self(bar)
    }

    /// From any thread.
    pub(crate) fn at(&self, at: hanzo_pack::Progress) {
        self.0.set_length(at.total_bytes);
        self.0.set_position(at.done_bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
