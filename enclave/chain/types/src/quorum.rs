//! How many votes it takes. Integers only.

/// Part of the committee that must vote, in percent.
pub const QUORUM_PERCENT: usize = 69;
/// Smallest committee: three and fewer bear no fault.
pub const COMMITTEE_MIN: usize = 4;
/// Largest committee: above it the two ways of counting never agree.
pub const COMMITTEE_MAX: usize = 42;

/// A committee of a size that is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// Too small or too large.
    #[error("committee: expected {COMMITTEE_MIN} to {COMMITTEE_MAX} validators, got {got}")]
    Size {
        /// Validators.
        got: usize,
    },
    /// The protocol's quorum is not 69 % of it.
    #[error(
        "committee: {got} validators: the protocol decides with {protocol} votes, {QUORUM_PERCENT} % are {percent}: choose a size where both agree, such as 4, 7, 10, 13, 20, 21 or 42"
    )]
    Disagree {
        /// Validators.
        got: usize,
        /// n - floor((n - 1) / 3).
        protocol: usize,
        /// ceil(69 n / 100).
        percent: usize,
    },
}

impl CommitteeError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "chain.committee.size",
            Self::Disagree { .. } => "chain.committee.disagree",
        }
    }
}

/// How many validators of `n` may be faulty in any way: floor((n - 1) / 3).
pub const fn faults(n: usize) -> usize {
    n.saturating_sub(1) / 3
}

/// How many of `n` votes make a certificate: max(n - floor((n - 1) / 3), ceil(69 n / 100)).
///
/// # Establishes
/// Any two quorums share more validators than may be faulty, and those that are not faulty are a quorum.
///
/// # Errors
/// [`CommitteeError`] for a size where the two numbers are not one.
pub const fn quorum(n: usize) -> Result<usize, CommitteeError> {
    if n < COMMITTEE_MIN || n > COMMITTEE_MAX {
        return Err(CommitteeError::Size { got: n });
    }
    let protocol = n.saturating_sub(faults(n));
    let percent = n.saturating_mul(QUORUM_PERCENT).div_ceil(100);
    if protocol != percent {
        return Err(CommitteeError::Disagree {
            got: n,
            protocol,
            percent,
        });
    }
    Ok(protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_admitted_where_both_ways_of_counting_agree() {
        let admitted: Vec<usize> = (0..1000).filter(|n| quorum(*n).is_ok()).collect();
        let expected = [
            4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 30, 33, 36, 39, 42,
        ];
        assert_eq!(admitted, expected);
        assert_eq!(quorum(20), Ok(14));
        assert_eq!(faults(20), 6);
        let refused = CommitteeError::Disagree {
            got: 19,
            protocol: 13,
            percent: 14,
        };
        assert_eq!(quorum(19), Err(refused));
        assert_eq!(refused.code(), "chain.committee.disagree");
        for got in [0, 3, 43] {
            assert_eq!(quorum(got), Err(CommitteeError::Size { got }));
        }
    }

    #[test]
    fn two_quorums_share_an_honest_validator_and_the_honest_are_a_quorum() {
        for n in COMMITTEE_MIN..=COMMITTEE_MAX {
            let Ok(q) = quorum(n) else { continue };
            assert!(2 * q - n > faults(n) && n - faults(n) >= q, "{n}");
        }
    }
}
