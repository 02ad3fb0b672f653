//! One signal, many listeners: everything that runs is told to end through this.

use tokio::sync::watch;

/// Gives the signal. Dropping it gives it too.
pub struct StopSignal(watch::Sender<bool>);

/// Hears the signal.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A signal that was not given yet.
pub fn stop_signal() -> (StopSignal, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopSignal(sender), Stop(receiver))
}

impl StopSignal {
    /// Gives the signal.
    pub fn give(&self) {
        let _ = self.0.send(true);
    }
}

impl Stop {
    /// Returns when the signal was given.
    pub async fn given(&mut self) {
        // An error means that its giver is gone: that is a signal as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
