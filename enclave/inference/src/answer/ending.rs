//! The end of a request: one receipt, durable before anybody hears of it.

use std::sync::Arc;

use hanzo_receipts::{Endpoint, Finished, Outcome, Sampling, Work};

use crate::access::Share;
use crate::aci::{Committing, Receipted};
use crate::error::ApiError;
use crate::state::ServingState;

/// What the receipt says of the engine's work.
pub(crate) struct Counts {
    pub(crate) sampling: Sampling,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) endpoint: Endpoint,
    /// How many answers, or vectors, there were to be.
    pub(crate) answers: u64,
}

/// Signs and appends the receipt, and settles with its caller by the same numbers. On an error there is none, and nothing more
/// of the answer may leave. What stands beside the receipt is still to be issued, by whoever knows that the answer is whole.
pub(crate) async fn finish(
    state: &ServingState,
    pending: Committing,
    outcome: Outcome,
    counts: Counts,
    share: Share,
) -> Result<Receipted, ApiError> {
    let (pending, beside) = pending.parts();
    let end = Finished {
        outcome,
        completion_tokens: counts.completion_tokens,
        prompt_tokens: counts.prompt_tokens,
        sampling: counts.sampling,
        time: (state.clock)().0,
        work: Work::of(counts.endpoint, counts.answers),
        account: share.account().cloned(),
    };
    state.metrics.ended(outcome, counts.completion_tokens);
    let log = Arc::clone(&state.receipts);
    let appended = tokio::task::spawn_blocking(move || log.finish(pending, end)).await;
    let code = match appended {
        Ok(Ok(receipt)) => {
            share.settle(counts.prompt_tokens, counts.completion_tokens);
            return Ok((receipt, beside));
        }
        Ok(Err(e)) => e.code(),
        Err(_) => "receipts.interrupted",
    };
    tracing::error!(code, "receipt not stored");
    Err(ApiError::Receipt { code })
}
