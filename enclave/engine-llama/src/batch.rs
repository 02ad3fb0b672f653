//! How much of each answer in progress goes into the next step of the library.

/// Tokens of one step: bounds how long anybody else waits for the prompt of one, and how late a cancellation is seen.
pub(crate) const STEP_TOKENS: usize = 512;

/// For each answer that has `pending` tokens to compute, how many of them this step takes: all share `room` alike, what one
/// does not need goes to the others, and each that has any gets at least one as long as there are no more answers than room.
pub(crate) fn shares(pending: &[usize], room: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pending.len()).collect();
    order.sort_by_key(|at| pending.get(*at).copied());
    let mut shares = vec![0; pending.len()];
    let mut left = room;
    for (done, at) in order.iter().enumerate() {
        let share = left / (order.len() - done);
        let take = pending.get(*at).map_or(0, |wanted| (*wanted).min(share));
        if let Some(slot) = shares.get_mut(*at) {
            *slot = take;
        }
        left -= take;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_gets_its_token_and_prompts_share_the_rest() {
        assert_eq!(shares(&[1, 4000, 1], 512), [1, 510, 1]);
        assert_eq!(shares(&[4000, 4000], 512), [256, 256]);
        assert_eq!(shares(&[4000, 10, 4000], 512), [251, 10, 251]);
        assert_eq!(shares(&[30], 512), [30]);
        assert_eq!(shares(&[], 512), Vec::<usize>::new());
    }

    #[test]
    fn nobody_starves_and_the_room_is_never_exceeded() {
        for answers in 1..=64 {
            let pending: Vec<usize> = (0..answers).map(|at| 1 + (at * 7919) % 3000).collect();
            let shares = shares(&pending, STEP_TOKENS);
            assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
            assert!(shares.iter().zip(&pending).all(|(share, wanted)| share <= wanted));
            assert!(shares.iter().sum::<usize>() <= STEP_TOKENS);
        }
    }
}
