//! Answers peers' questions about blocks and states, and takes their answers.

use std::sync::{Arc, Mutex, PoisonError};

use commonware_p2p::{Blocker as _, Receiver as _, Recipients};
use hanzo_chain_links::{LinkReceiver, LinkSender, Network};
use hanzo_ledger::Canonical;
use hanzo_mining::MiningLedger;

use crate::node::members;
use crate::rpc::Heard;
use crate::snapshot::{self, Fetch, FetchError, Message, Taken};
use crate::sync;

/// Answers those who are behind, and takes what was asked for.
pub(crate) async fn sync(
    mut asked: LinkReceiver,
    answers: LinkSender,
    links: Network,
    ledger: Arc<MiningLedger>,
    fetch: Arc<Mutex<Fetch>>,
    heard: Arc<Heard>,
) {
    let mut blocker = links.blocker();
    while let Ok((peer, message)) = asked.recv().await {
        let ledger = Arc::clone(&ledger);
        let work = tokio::task::spawn_blocking(move || {
            match sync::Message::from_bytes("sync", message.as_ref(), sync::ANSWER_BYTES_MAX) {
                Err(error) => Err(error.to_string()),
                Ok(sync::Message::Ask(height)) => match sync::answer(&ledger, height) {
                    Ok(answer) => Ok((answer.map(|answer| answer.to_bytes()), None)),
                    Err(error) => {
                        tracing::error!(code = error.code(), "stored blocks cannot be shown: {error}");
                        Ok((None, None))
                    }
                },
                Ok(sync::Message::Answer(answer)) => match sync::take(&ledger, &answer) {
                    Ok(new) => Ok((None, Some((new, ledger.read(|state| state.head().height))))),
                    Err(sync::SyncError::Wrong(why)) => Err(why),
                    Err(error) => {
                        tracing::debug!("{error}");
                        Ok((None, None))
                    }
                },
            }
        });
        match work.await {
            Ok(Ok((answer, taken))) => {
                if let Some(answer) = answer {
                    answers.tell(&Recipients::One(peer.clone()), answer);
                }
                if let Some((new, height)) = taken.filter(|(new, _)| *new > 0) {
                    tracing::info!(new, height, "final blocks from a peer");
                    heard.newest.send_replace(height);
                    // A state is on its way: blocks before it would be in vain.
                    if fetch.try_lock().is_ok_and(|fetch| fetch.is_under_way()) {
                        continue;
                    }
                    let more = sync::Message::Ask(height.saturating_add(1)).to_bytes();
                    answers.tell(&Recipients::One(peer), more);
                }
            }
            Ok(Err(why)) => {
                tracing::warn!(%peer, "peer blocked: {why}");
                let _ = blocker.block(peer);
            }
            Err(_) => {}
        }
    }
}

/// What came of a message about snapshots.
enum Done {
    Say(Option<Message>),
    Went(u64),
    Wrong(hanzo_chain::ValidatorKey, String),
}

fn done(ledger: &MiningLedger, fetch: &Mutex<Fetch>, peer: &hanzo_chain::ValidatorKey, bytes: &[u8]) -> Done {
    let message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(why) => return Done::Wrong(peer.clone(), why.to_string()),
    };
    match snapshot::answer(ledger, &message) {
        Ok(None) => {}
        Ok(answer) => return Done::Say(answer),
        Err(error) => {
            tracing::warn!(code = error.code(), "a state cannot be shown: {error}");
            return Done::Say(None);
        }
    }
    let taken = fetch.lock().unwrap_or_else(PoisonError::into_inner).take(peer, message);
    match taken {
        Ok(Taken::Nothing) => Done::Say(None),
        Ok(Taken::Next(question)) => Done::Say(Some(question)),
        Ok(Taken::Installed(height)) => Done::Went(height),
        Err(FetchError::Wrong { peer, cause }) => Done::Wrong(peer, cause.to_string()),
        Err(FetchError::Store(error)) => {
            tracing::warn!(code = error.code(), "a state was not taken: {error}");
            Done::Say(None)
        }
    }
}

/// Hands out states, and takes one if this ledger is far behind.
pub(crate) async fn snapshots(
    mut asked: LinkReceiver,
    answers: LinkSender,
    links: Network,
    ledger: Arc<MiningLedger>,
    fetch: Arc<Mutex<Fetch>>,
    heard: Arc<Heard>,
) {
    let mut blocker = links.blocker();
    while let Ok((peer, message)) = asked.recv().await {
        let (held, fetching, whose) = (Arc::clone(&ledger), Arc::clone(&fetch), peer.clone());
        let work = tokio::task::spawn_blocking(move || done(&held, &fetching, &whose, message.as_ref()));
        match work.await {
            Ok(Done::Say(answer)) => {
                if let Some(answer) = answer {
                    answers.tell(&Recipients::One(peer), answer.to_bytes());
                }
            }
            Ok(Done::Went(height)) => {
                tracing::info!(height, "went on from the final state after this block");
                links.set_members(ledger.read(members));
                heard.newest.send_replace(height);
            }
            Ok(Done::Wrong(peer, why)) => {
                tracing::warn!(%peer, "peer blocked: {why}");
                let _ = blocker.block(peer);
            }
            Err(_) => {}
        }
    }
}
