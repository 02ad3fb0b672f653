//! Signals that ask this program to stop.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a run that a signal ended before it did what was asked.
pub(crate) const SIGNALLED: u8 = 130;

/// True once a signal came: threads that only wait for others give up.
pub(crate) static STOPPING: AtomicBool = AtomicBool::new(false);

/// Ctrl-C and SIGTERM, from the first moment on.
#[derive(Clone)]
pub(crate) struct Interrupt(tokio::sync::watch::Receiver<bool>);

impl Interrupt {
    pub(crate) fn listen() -> Self {
        let (tell, told) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            let (Ok(mut int), Ok(mut term), Ok(mut hup)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
                signal(SignalKind::hangup()),
            ) else {
                return std::future::pending().await;
            };
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hup.recv() => {} }
            STOPPING.store(true, Ordering::Relaxed);
            if std::io::stderr().is_terminal() {
                eprintln!("\nhanzo: stopping (Ctrl-C again stops at once)");
            }
            // Nobody listens any more only when the program ends anyway.
            let _ = tell.send(true);
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
            std::process::exit(i32::from(SIGNALLED));
        });
        Self(told)
    }

    pub(crate) async fn came(&self) {
        let mut told = self.0.clone();
        if told.wait_for(|t| *t).await.is_err() {
            std::future::pending().await
        }
    }
}
