//! The fuzz targets of the ledger and of light proofs (`tests/fuzz`), over their seeds and over changed ones: without libFuzzer, so that every
//! test run has them. `HANZO_CHAIN_MUTATIONS=1000000` runs more; `HANZO_WRITE_SEEDS=DIR` writes the seeds.

#[path = "../../../../tests/fuzz/src/ledger.rs"]
mod targets;

fn run(target: &str, bytes: &[u8]) {
    match target {
        "ledger" => targets::ledger(bytes),
        "ledger_apply" => targets::ledger_apply(bytes),
        "light_proof" => targets::light_proof(bytes),
        "snapshot" => targets::snapshot(bytes),
        other => panic!("no target {other}"),
    }
}

#[test]
fn the_fuzz_targets_of_the_chain_hold_over_their_seeds_and_over_changed_ones() {
    let rounds: u64 = std::env::var("HANZO_CHAIN_MUTATIONS").map_or(3_000, |n| n.parse().unwrap());
    let seeds = targets::seeds();
    if let Some(folder) = std::env::var_os("HANZO_WRITE_SEEDS") {
        for (target, name, bytes) in &seeds {
            let folder = std::path::Path::new(&folder).join(target);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
    for (target, _, bytes) in &seeds {
        run(target, bytes);
    }
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below.max(1) as u64) as usize
    };
    for _ in 0..rounds {
        let (target, _, bytes) = &seeds[draw(seeds.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=draw(4) {
            let near = [bytes.len(), bytes.len().min(300)][draw(2)];
            let at = draw(near);
            match draw(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), draw(256) as u8),
                2 => bytes.extend_from_slice(&[0; 3][..draw(4)]),
                _ if !bytes.is_empty() => bytes[at] = [0, 1, 2, 0x7f, 0xff, draw(256) as u8][draw(6)],
                _ => {}
            }
        }
        run(target, &bytes);
    }
}
