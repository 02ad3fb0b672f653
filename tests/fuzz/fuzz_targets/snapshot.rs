#![no_main]
libfuzzer_sys::fuzz_target!(init: hanzo_fuzz::seeds::write_if_asked(), |data: &[u8]| {
    hanzo_fuzz::bounded(|| hanzo_fuzz::ledger::snapshot(data));
});
