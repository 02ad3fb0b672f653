//! `CATALOGUE.md` is what runs: every attack is a row. `HANZO_WRITE_CATALOGUE=1` writes it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hanzo_tests_adversary::attack::Row;

use crate::cuts::{POINTS, PROCESSES, expected, test_of};
use crate::{edge, egress, ehbp, evidence, handshake, keys, proofs, receipts, relays, sealed, wire};

const HEAD: &str = "# The catalogue of attacks

An active host between processes: broker, guest, engine, proxy and client are processes of their own, and whatever passes between them
passes the host. Each attack is a script with one hostile step; the same script without it, its honest twin, is run first and must be
answered. What came of it lies in `target/tmp/attacks.json` and `attacks.md`, of cuts in `target/tmp/cuts`, once
`cargo test -p hanzo-tests-adversary --test catalogue` was run. Prompts and answers hold words that are looked for afterwards, raw and in
base64, hex and UTF-16, in every byte that passed, every log, every store and the proxy's metrics.

This page is written by the test `document` from what runs (`HANZO_WRITE_CATALOGUE=1`).

";

const CUTS: &str = "
## Cuts

Each process killed at each point of a request, over attested TLS, OHTTP, chunked OHTTP and EHBP at once. Expected is one of the codes, in each way
in; `answered` stands only where the process is not needed for the answer, and then the answer is whole.

| process | point | the client sees | falsified by |
|---|---|---|---|
";

const UNHARMED: &str = "
## What changes nothing

| the host | what comes of it | falsified by |
|---|---|---|
| leads a client to a clone of its guest | the clone is attested anew; it has no key of the first | `test:traffic_to_a_clone_is_attested_anew` |
| puts headers around a sealed message | they stay outside | `test:headers_around_a_message_change_nothing_inside` |
| calls a TLS record a handshake message | TLS 1.3 does not sign that byte; the answer comes through as it was | `test:a_record_s_outer_type_is_nobody_s_word` |
| sets the guest's clock a year wrong | keys, keysets and grants live as long as before | `test:a_clock_that_is_a_year_wrong_changes_nothing` |

## Attacks with tests of their own

| attack | what comes of it | falsified by |
|---|---|---|
| a host that has the guest's TLS key relays a connection | `channel.proof_mismatch` | `test:a_relayed_proof_fails_even_with_the_guest_s_tls_key` |
| evidence that was good for the last attestation | `freshness.foreign_challenge` | `test:evidence_that_was_good_for_the_last_attestation_is_stale_for_the_next` |
| a backend swapped under pooled connections | nothing is sent | `test:a_backend_swapped_under_pooled_connections_sends_nothing` |
| a guest in debug mode, of another image, on old firmware | `snp.debug`, `snp.measurement`, `snp.tcb.below_floor` | `test:a_debuggable_guest_is_refused` `test:a_guest_of_another_image_is_refused` `test:a_guest_on_old_firmware_is_refused` |
| evidence of a simulator for a client that knows none | `snp.chain.root` | `test:without_the_simulators_root_nothing_of_it_is_believed` |
| keysets that follow each other under a busy client | no request is lost | `test:a_client_that_asks_all_the_time_loses_no_request_to_new_keysets` |
| a pack that is older, foreign or changed; files that never end | `pack.root`, `pack.table.not_authentic` and others | `test:an_older_pack_under_the_same_key_is_not_opened` `test:a_foreign_pack_is_not_opened` `test:a_changed_byte_of_the_pack_is_found` `test:files_that_never_end_or_never_answer_do_not_hold_the_boot` |
| a changed configuration | `config.digest_mismatch` | `test:a_changed_configuration_byte_stops_the_boot` |
| a guest that does not reach the key's tier; evidence for another nonce; a wrapping key of the host's | `kbs.refused` with the rule | `test:evidence_that_does_not_reach_the_keys_tier_gets_no_key` `test:evidence_for_the_wrong_nonce_gets_no_key` `test:a_swapped_wrapping_key_gets_no_key` |
| a broker's disk put back; a grant for another guest or other weights | `grant.version`, `grant.recipient`, `grant.subject` | `test:a_grant_of_an_older_key_version_stops_the_boot` `test:a_grant_for_another_guest_opens_nothing` `test:a_grant_for_another_weights_root_stops_the_boot` |
| a gateway that is not the relay's | `relay.gateway_tls`, and nothing is sent | `test:whoever_has_no_certificate_for_the_gateway_is_told_nothing` |
| words looked for on the host, where they were put | found | `test:what_is_readable_on_the_host_is_found` |

## dstack's public security reports

| report | here | falsified by |
|---|---|---|
| keys of two instances collide (549) | every boot draws its own; a message to another key under the same identifier does not open | `test:two_boots_share_no_key_and_one_guests_proofs_are_worthless_for_the_other` `test:a_host_that_carries_sealed_messages_can_only_stop_them` |
| two spellings of what is measured (411, 550) | one spelling, and the bytes themselves are measured | `test:a_bundle_in_any_other_spelling_is_refused` `test:a_changed_configuration_byte_stops_the_boot_before_anything_is_asked` |
| keys without versions (552) | versions that never go back | `test:an_older_version_of_a_key_than_the_store_has_seen_is_not_used` |
| keys on command lines (556), keys that others can read (606) | neither | `test:a_host_between_guest_and_broker_gets_no_key_and_no_guest` `test:a_key_file_is_private_whole_and_never_replaced` `test:key_files_that_others_can_read_or_that_are_no_keys_are_refused` |
| an event log that anybody writes (557) | it counts only if it replays into signed registers | `test:an_event_log_must_replay_into_the_registers_of_the_quote` |
| a token compared byte by byte (560) | compared whole | `test:a_required_token_must_be_borne_exactly` |
| a gzip bomb in a certificate (566), lengths that are believed (567) | nothing is decompressed, every length is bounded first | `test:a_host_that_changes_evidence_or_answers_with_other_evidence_is_found_out` `test:a_host_that_carries_sealed_messages_can_only_stop_them` |
| one key for two algorithms (605) | one key, one purpose | `test:domain_strings_are_unique_and_listed` |
| certificates of ten years (613) | keysets of a day at most | `test:a_life_ends_after_its_last_second_and_not_before` |
| processes that share keys (617) | the engine is given none, and has a user of its own | `test:as_root_it_has_a_user_a_root_and_no_capability_besides` |
| no secure time (745) | see above; a client whose clock is a year wrong is told | `test:a_clock_that_is_a_year_wrong_changes_nothing` `test:a_host_that_changes_evidence_or_answers_with_other_evidence_is_found_out` |
| a fetch that holds everybody up (746) | the guest dials its broker alone, and nobody once it serves | `test:rule_4_the_guest_reaches_no_network_client` |
| GPUs used before they were verified (751, 778) | they get ready afterwards or not at all | `test:gpus_are_verified_before_they_get_ready_and_answer_before_the_cpu` |
";

fn classes() -> Vec<(&'static str, Vec<Row>)> {
    macro_rules! class {
        ($title:literal, $($attacks:expr => $test:literal),*) => {
            ($title, [$($attacks.iter().map(|a| a.row($test)).collect::<Vec<_>>()),*].into_iter().flatten().collect())
        };
    }
    vec![
        class!("TCP and TLS records", wire::ATTACKS => "a_host_on_the_wire_only_stops_what_it_touches"),
        class!("Handshakes", handshake::ATTACKS => "a_host_that_offers_or_asks_for_less_gets_nothing"),
        class!("Evidence",
            evidence::REPORT => "a_host_that_changes_evidence_or_answers_with_other_evidence_is_found_out",
            evidence::KEYSET => "a_host_that_changes_evidence_or_answers_with_other_evidence_is_found_out",
            evidence::DOCUMENT => "a_host_that_changes_evidence_or_answers_with_other_evidence_is_found_out",
            evidence::FRESHNESS => "a_host_that_changes_evidence_or_answers_with_other_evidence_is_found_out"),
        class!("Channel proofs", proofs::ATTACKS => "no_proof_but_this_connection_s_of_this_keyset_counts"),
        class!("Sealed messages",
            sealed::REQUESTS => "a_host_that_carries_sealed_messages_can_only_stop_them",
            sealed::ANSWERS => "a_host_that_carries_sealed_messages_can_only_stop_them",
            sealed::TWICE => "a_host_that_carries_sealed_messages_can_only_stop_them",
            sealed::CLEAR => "a_host_that_carries_sealed_messages_can_only_stop_them",
            sealed::ROTATED => "a_message_counts_once_across_keysets"),
        class!("Sealed bodies (EHBP)", ehbp::ATTACKS => "a_host_that_carries_sealed_bodies_can_only_stop_them"),
        class!("Relays and lengths",
            relays::RELAYS => "a_relay_that_lies_can_only_stop_messages_and_padded_lengths_tell_it_nothing",
            relays::PADDING => "a_relay_that_lies_can_only_stop_messages_and_padded_lengths_tell_it_nothing"),
        class!("Receipts", receipts::ATTACKS => "receipts_other_than_the_guest_s_are_refused"),
        class!("Keys", keys::ATTACKS => "a_host_between_guest_and_broker_gets_no_key_and_no_guest"),
        class!("The way out", egress::ATTACKS => "a_host_that_connects_a_guest_outside_can_only_refuse"),
        class!("The edge", edge::ATTACKS => "strangers_at_the_edge_are_cut_and_healthy_clients_answered"),
    ]
}

fn words(codes: &[&str]) -> String {
    codes.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(" ")
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (title, rows) in classes() {
        let _ = write!(
            page,
            "## {title}\n\n| attack | the host | the client sees | after | falsified by |\n|---|---|---|---|---|\n"
        );
        for Row {
            name,
            host,
            after,
            expect,
            test,
        } in rows
        {
            let _ = writeln!(
                page,
                "| {name} | {host} | {} | {after} | `test:{test}` |",
                words(expect)
            );
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page += UNHARMED;
    page += CUTS;
    for process in PROCESSES {
        for (point, name) in POINTS {
            let codes = words(expected(process, point));
            let _ = writeln!(page, "| {process:?} | {name} | {codes} | `test:{}` |", test_of(process));
        }
    }
    page
}

#[test]
fn every_attack_that_runs_is_a_row_of_the_catalogue() {
    let classes = classes();
    let names: Vec<_> = classes
        .iter()
        .flat_map(|(_, rows)| rows.iter().map(|r| r.name))
        .collect();
    assert!(names.len() >= 60, "{} attacks", names.len());
    let single: BTreeSet<_> = names.iter().collect();
    assert_eq!(single.len(), names.len(), "two attacks of one name");
    let answered = |row: &Row| row.expect.is_empty() || row.expect.contains(&"answered");
    assert!(
        !classes.iter().any(|(_, rows)| rows.iter().any(answered)),
        "an attack that may succeed"
    );
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("CATALOGUE.md");
    if std::env::var_os("HANZO_WRITE_CATALOGUE").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "CATALOGUE.md is another: write it with HANZO_WRITE_CATALOGUE=1"
    );
}
