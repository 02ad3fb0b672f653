//! No input makes a reader panic, and no byte of a log can change unseen.

use hanzo_attestation::eventlog::{
    CcelTable, EventLog, ReplayedLog, binary_of, kind, replay_ccel, replay_dstack, replay_tcg,
};
use hanzo_simulated_tee::LogBuilder;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn noise_is_refused_without_a_panic(noise in vec(any::<u8>(), 0..600), text in ".{0,200}") {
        let head = LogBuilder::ccel();
        for bytes in [noise.clone(), [head.bytes(), &noise].concat(), [LogBuilder::tcg().bytes(), &noise].concat()] {
            let _ = EventLog::parse_tcg(&bytes);
            let _ = EventLog::parse_ccel(&bytes);
            let _ = replay_ccel(&bytes, &[[0; 48]; 4]);
            let _ = replay_tcg(&bytes, &[(0, [0; 32])].into());
            let _ = replay_dstack(&bytes, &[[0; 48]; 4]);
            let _ = CcelTable::parse(&bytes);
        }
        let _ = binary_of(&text);
        let _ = binary_of(&format!("-----BEGIN LOG-----{text}-----END LOG-----"));
        let _ = replay_dstack(text.as_bytes(), &[[0; 48]; 4]);
    }

    /// What a replay says of vouched data cannot be changed by whoever holds the log.
    #[test]
    fn no_changed_byte_changes_what_is_vouched_for(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let log = LogBuilder::tcg().boot("quiet");
        let pcrs = (0..24).zip(log.pcrs()).collect();
        let mut bytes = log.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(replayed) = replay_tcg(&bytes, &pcrs) {
            let vouched = |log: &[u8]| -> Vec<_> {
                let replayed = replay_tcg(log, &pcrs).unwrap();
                let events = replayed.events().iter().filter(|e| e.data_vouched && e.kind != kind::EV_IPL);
                events.map(|e| (e.register, e.digest.clone(), e.data.clone())).collect()
            };
            prop_assert_eq!(vouched(&bytes), vouched(log.bytes()));
            // An event that is turned into one that extends nothing takes its whole register out of what is explained.
            let whole = replay_tcg(log.bytes(), &pcrs).unwrap();
            for register in replayed.registers() {
                let count = |log: &ReplayedLog| log.of_register(*register).map(Iterator::count);
                prop_assert_eq!(count(&replayed), count(&whole));
            }
        }
    }
}
