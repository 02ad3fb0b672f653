#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hanzo_fuzz::bounded(|| hanzo_fuzz::nvidia_report(data)));
