//! Whether a model's engines may run: the last word of its administrators.

use std::time::Duration;

use hanzo_inference::EngineOrder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What is wanted of a model's engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Run,
    /// Not until then; `None`: not before an order.
    Out(Option<Instant>),
    /// Never again.
    Unloaded,
}

impl Wanted {
    /// After an order: what was unloaded stays so.
    pub(super) fn after(self, order: EngineOrder) -> Self {
        match (self, order) {
            (Self::Unloaded, _) | (_, EngineOrder::Unload) => Self::Unloaded,
            (_, EngineOrder::PutOut { back_in }) => Self::Out(back_in.and_then(later)),
            (_, EngineOrder::Load) => Self::Run,
        }
    }

    pub(super) fn runs(self) -> bool {
        match self {
            Self::Run => true,
            Self::Out(until) => until.is_some_and(|until| until <= Instant::now()),
            Self::Unloaded => false,
        }
    }
}

/// `None` past what the clock can say, which is for ever.
fn later(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}

/// Returns once the engine may not run. Whoever gave the orders being gone ends it for good.
pub(super) async fn unwanted(wanted: &mut watch::Receiver<Wanted>) {
    let _ = wanted.wait_for(|wanted| !wanted.runs()).await;
}

/// Waits until the engine may run; false if it never may again.
pub(super) async fn wanted_again(wanted: &mut watch::Receiver<Wanted>) -> bool {
    loop {
        let now = *wanted.borrow_and_update();
        let until = match now {
            Wanted::Unloaded => return false,
            now if now.runs() => return !is_orphan(wanted),
            Wanted::Out(Some(until)) => until,
            _ => match wanted.changed().await {
                Ok(()) => continue,
                Err(_) => return false,
            },
        };
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() {
                return false;
            },
            () = sleep_until(until) => {}
        }
    }
}

fn is_orphan(wanted: &watch::Receiver<Wanted>) -> bool {
    wanted.has_changed().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: EngineOrder = EngineOrder::PutOut { back_in: None };

    #[test]
    fn what_was_unloaded_stays_so_and_what_was_put_out_comes_back() {
        let out = Wanted::Run.after(OUT);
        assert_eq!((out, out.runs()), (Wanted::Out(None), false));
        assert_eq!(out.after(EngineOrder::Load), Wanted::Run);
        let unloaded = out.after(EngineOrder::Unload);
        for order in [EngineOrder::Load, OUT, EngineOrder::Unload] {
            assert_eq!(unloaded.after(order), Wanted::Unloaded);
        }
        let for_ever = EngineOrder::PutOut {
            back_in: Some(Duration::from_secs(u64::MAX)),
        };
        assert!(!Wanted::Run.after(for_ever).runs());
    }

    #[tokio::test]
    async fn an_engine_waits_for_its_time_for_an_order_or_for_nothing_more() {
        let (say, mut wanted) = watch::channel(Wanted::Run);
        assert!(wanted_again(&mut wanted).await);
        let began = Instant::now();
        let back_in = Some(Duration::from_millis(40));
        say.send_modify(|wanted| *wanted = wanted.after(EngineOrder::PutOut { back_in }));
        unwanted(&mut wanted).await;
        assert!(wanted_again(&mut wanted).await);
        assert!(began.elapsed() >= Duration::from_millis(40));
        say.send_modify(|wanted| *wanted = wanted.after(OUT));
        let waits = tokio::time::timeout(Duration::from_millis(40), wanted_again(&mut wanted));
        assert!(waits.await.is_err());
        say.send_modify(|wanted| *wanted = wanted.after(EngineOrder::Load));
        assert!(wanted_again(&mut wanted).await);
        say.send_modify(|wanted| *wanted = wanted.after(EngineOrder::Unload));
        unwanted(&mut wanted).await;
        assert!(!wanted_again(&mut wanted).await);
    }
}
