//! What a person sees of a command that takes a while. Nothing, unless standard error is a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use hanzo_kbs::KbsConfig;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Counts to an end that is told with the first step. `quiet`: draws nothing in any case.
pub(super) fn bar(quiet: bool, message: &'static str) -> ProgressBar {
    let bar = target(ProgressBar::no_length(), quiet);
    let style = ProgressStyle::with_template("{msg:20} {wide_bar} {pos}/{len} {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(message);
    bar
}

/// Moves while something of unknown length goes on that opens the root of `config`. A root that asks at the terminal is not
/// drawn over.
pub(super) fn spinner(quiet: bool, config: &KbsConfig, message: &'static str) -> ProgressBar {
    let bar = target(ProgressBar::new_spinner(), quiet || config.root.prompts());
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn target(bar: ProgressBar, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    // An error's line stands alone.
    bar.with_finish(ProgressFinish::AndClear)
}
