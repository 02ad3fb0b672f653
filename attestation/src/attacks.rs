//! Past attacks on verifiers, our answer to each, and the test that would fail if the answer were gone.
//!
//! Tests are named by file and function under `attestation/tests`, by module and function for tests inside `src`, and with
//! their crate where they stand elsewhere. The same by number, and the classes of negative tests that other verifiers keep,
//! with the code of each refusal: `tests/NEGATIVES.md`.
//!
//! # The root that was not pinned
//! *go-sev-guest issue 185, fixed by pull request 190 (2026).* When the product was unknown, no pinned root was found and
//! the ARK that came with the evidence was believed: anybody could sign. *The same fault in
//! Microsoft's TEE-Attestation-Verification, issue 145:* a supplied ARK only had to be self-signed.
//!
//! Evidence has no place for an ARK here. The roots are compiled in, one per product; a product without one is an error,
//! not an empty set. A caller's further roots are called simulator roots and mark every result for ever.
//! Tests: `snp/mutants.rs` `a_forged_root_with_the_right_names_is_not_the_root` and
//! `without_the_simulators_root_its_evidence_is_nobodys`; `snp/roots.rs` `a_vendors_root_cannot_be_given_as_a_simulators`
//! and `a_simulator_root_must_be_a_self_signed_certificate`; `snp::product` `product_names_are_matched_whole`;
//! `snp::roots` `each_ark_is_self_signed_and_signs_its_intermediates_and_no_others`.
//!
//! # The chip id that was never compared
//! *snpguest pull request 159; Trustee as of 2026-08.* The comparison ran only for certificates whose common name is
//! `VCEK`, and AMD writes `SEV-VCEK`: dead code. Run, it would have failed on Turin, whose hwID has 8 bytes.
//!
//! A VCEK certificate without hwID is refused, its length follows the product, both encodings are read, and the rest of
//! CHIP_ID must be zero. The common name is compared with AMD's spelling and any other is refused.
//! Tests: `snp/mutants.rs` `a_correct_signature_does_not_excuse_a_wrong_layout`,
//! `turin_is_read_in_its_own_order_and_names_eight_bytes_of_chip`, `certificates_are_read_strictly` and
//! `a_masked_chip_id_does_not_pass_for_the_chip_of_the_certificate`; `snp/real.rs`
//! `every_vector_gets_the_verdict_of_the_manifest`.
//!
//! # The provider's key in the place of the chip's
//! *TEE-Attestation-Verification, issue 142; Trustee.* SIGNING_KEY was ignored, so a VLEK, which names no chip, passed
//! where a VCEK was meant.
//!
//! SIGNING_KEY, the certificate's common name, its extensions and the kind of intermediate must all agree, and claims say
//! which kind it was. Test: `snp/mutants.rs` `vcek_and_vlek_do_not_stand_in_for_each_other`.
//!
//! # The TCB in the wrong order
//! Turin has another order of bytes than its elders. Read in the wrong one, a patched loader's number can stand for
//! the microcode's. The order follows the product, which certificate and CPUID must agree on. Tests: `snp::tcb`
//! `the_same_bytes_mean_different_versions_on_turin_and_genoa`; `snp/mutants.rs`
//! `turin_is_read_in_its_own_order_and_names_eight_bytes_of_chip`.
//!
//! # The model range with a hole
//! *Trustee.* Genoa's range ended one model early. Both ends of every range are tested: `snp::product`
//! `both_ends_of_every_model_range_count_and_their_neighbours_do_not`.
//!
//! # The signature over something else
//! *Crate `sev`.* The report is parsed, encoded again, and the encoding is what gets hashed; versions above 5 are read as
//! version 5. Here the signature covers the bytes that came, and the version is looked at before anything
//! else. Tests: `snp/mutants.rs` `one_flipped_bit_in_any_signed_field_breaks_the_signature_or_the_layout` and
//! `a_correct_signature_does_not_excuse_a_wrong_layout`; `snp/oracle.rs` compares both implementations.
//!
//! # The checks that were left out
//! *attestation-rs pull request 83:* its browser build skipped validity, TCB and CRL. *Trustee:* no CRL, and an ASK of the
//! evidence's choice beside AMD's ARK. There is one path and no option on it: no feature, no build and no argument
//! turns a check off. A missing list is a fact in the result that policy must judge, never a silent pass.
//! Tests: `snp/mutants.rs` `certificates_count_from_their_first_to_their_last_second`; `snp/lists.rs`, all of it;
//! `snp/mutants.rs` `the_intermediate_of_another_product_is_refused`.
//!
//! # The older list
//! A host may staple a revocation list from before its certificate was revoked, as long as that list lives. Every
//! authentic list counts, stapled or supplied by the caller. Test: `snp/lists.rs`
//! `a_revoked_intermediate_is_refused_even_behind_a_clean_stapled_list`. And the reverse: AMD numbers every VCEK 0, so a 0 on
//! a list must not revoke the world. Test: `serial_number_zero_on_a_list_does_not_revoke_every_chip`.
//!
//! # The evidence that was recorded, relayed or reused
//! Evidence that is authentic is not yet *for this caller*. The nonce is drawn by the relying party, REPORT_DATA is
//! compared whole, and claims that were not bound cannot reach policy: [`crate::Bound`] has no other maker. "Seen before" lists
//! are no freshness (NVFlare pull request 5131). Tests: `spec.rs`
//! `the_worked_example_binds_to_its_challenge_and_to_no_other`.
//!
//! # The length that lied
//! *Quote verifiers that trusted a declared length.* A report is 1184 bytes and nothing else; certificates and lists are
//! bounded before they are parsed and may have nothing after them. Tests: `snp/anything.rs`
//! `a_report_is_read_if_and_only_if_it_has_its_length`; `snp/mutants.rs` `certificates_are_read_strictly`.
//!
//! # The firmware id at the wrong end
//! *NVIDIA's older verifiers and what was modelled on them.* The firmware id of a GPU's leaf certificate was taken as the
//! last 48 bytes of an extension. Blackwell's certificates end in a second id of zeros: every genuine GPU is refused, and one
//! that states zeros is not. The extension is read as what it is, in both forms. Tests: `nvidia/past.rs`
//! `the_firmware_id_of_blackwell_is_not_the_last_48_bytes`; `nvidia/mutants.rs`
//! `a_stated_firmware_id_is_the_certificates`.
//!
//! # The family that was believed
//! *Trustee's local verifier, pull request 1551.* It knew Hopper alone, looked at no RIM and asked no OCSP responder. The
//! family is what the certificates say, in all of them and in the report, and must be the declared one; RIMs and OCSP answers
//! are compared, and their absence is a fact in the claims. Tests: `nvidia/past.rs`
//! `all_three_families_are_verified_by_their_own_rules`; `nvidia/collateral.rs`
//! `a_device_with_its_rims_and_answers_is_matched_and_good` and
//! `another_measurement_is_a_mismatch_and_a_missing_rim_is_named`.
//!
//! # The chain that was put in order
//! A verifier that sorts certificates, or takes whichever fits as the leaf, lets the evidence choose the key. Five
//! certificates come leaf first, and an authority signs no report. Tests: `nvidia/past.rs`
//! `the_order_of_certificates_is_checked_and_not_repaired`; `nvidia/mutants.rs`
//! `five_certificates_in_their_order_and_no_others`.
//!
//! # One device that stood for several
//! *nvtrust issue 38; trustee pull request 1551.* Entries were counted, and one device listed four times made four. NVIDIA's
//! UEID is no remedy by itself: it changes with the firmware, so one GPU restarted in between has two (two of the public
//! reports are such a pair). Devices are told apart by what their boot ROM's certificate says. Tests: `nvidia/past.rs`
//! `a_device_counts_once_however_often_it_is_listed`; `nvidia/real.rs` `one_gpu_with_two_firmwares_is_one_device`;
//! `nvidia/mutants.rs` `one_device_cannot_stand_for_two`.
//!
//! # The switch that only seven of eight knew
//! *Trustee.* Switch ids that GPUs name were collected into one set, which hides the GPU that names a foreign switch. Each
//! GPU is compared by itself, and each switch. Tests: `nvidia/topology.rs` `a_gpu_or_switch_of_another_machine_is_noticed`
//! and `eight_real_gpus_and_four_real_switches_name_exactly_each_other`.
//!
//! # The GPU of somebody else
//! *dstack issues 751 and 778.* A GPU that was verified, but for no guest in particular, can be shown by any. Each device
//! answers the SHA-256 of a statement over the guest's keyset, and the processor signs the list of answers. A device can
//! still be driven from afar until the bus itself is attested: tier 4 asks for that. Tests: `composite.rs`
//! `devices_that_answered_for_another_guest_do_not_bind`,
//! `a_device_list_changed_after_the_statement_is_not_the_one_that_was_signed` and `purposes_are_not_interchangeable`.
//!
//! # The separator that came twice
//! *Log attack published with go-tdx-guest.* Software that runs after the firmware extends a register as it likes, and writes a
//! second separator into the log before its own events: whoever takes the last separator for the end of the firmware's
//! words believes them. Two separators of one register are refused, whatever the registers say. Old OVMF builds wrote
//! such logs themselves; they are refused too. Tests: `eventlog/mutants.rs`
//! `a_second_separator_of_one_register_is_refused`; `eventlog/real.rs`
//! `every_log_of_the_tdx_vectors_gets_the_verdict_of_the_manifest`.
//!
//! # The words beside the digest
//! *Verifiers that replay digests and then read event data.* A true digest stays true beside other words. Where TCG says
//! that the digest is of the data, other data are refused; elsewhere each event says whether the register vouches for
//! its data, and events that no signed register covers are not handed out. Tests: `eventlog/mutants.rs`
//! `changed_event_data_under_a_true_digest_never_counts`, `a_boot_variable_is_vouched_for_only_with_its_name`,
//! `events_that_nothing_vouches_for_are_left_out` and `a_dstack_name_cannot_borrow_bytes_from_its_payload`;
//! `eventlog/anything.rs` `no_changed_byte_changes_what_is_vouched_for`.
//!
//! # No log at all
//! *Trustee warns `No Eventlog` and goes on.* A missing log is `None` in the claims, an empty one does not replay, and a log that
//! leaves a register out does not count as one that explains it. Tests: `eventlog/mutants.rs`
//! `an_empty_log_explains_nothing` and `a_register_that_the_log_does_not_explain_is_not_among_the_explained`;
//! `tpm/quotes.rs` `the_log_that_comes_along_explains_the_quoted_registers_or_is_refused`.
//!
//! # The quote that was not looked into
//! *Trustee's Azure verifiers.* Neither magic and type of the attestation nor the selection were read: whatever the key signed
//! passed for a quote, and registers outside the selection passed for quoted ones. Here the structure is read to its last
//! byte, and the registers given are exactly those selected. Tests: `tpm/quotes.rs`
//! `only_what_a_tpm_made_itself_and_only_a_quote_counts`, `a_selection_of_the_sha256_bank_comes_first` and
//! `the_registers_given_are_exactly_those_selected`; `tpm/keys.rs`
//! `an_attestation_key_is_restricted_to_what_the_tpm_made_and_never_leaves_it`.
//!
//! # The slice that was longer than its field
//! *Trustee, az-snp-vtpm version 2.* `user_data[0..len]` panics when user data are shorter than what they must repeat, and a
//! prefix that matches says nothing of the rest. User data, REPORT_DATA around the hash and qualifying data are compared
//! as whole fields. Tests: `tpm/azure.rs`
//! `user_data_shorter_than_what_they_must_repeat_are_refused_without_a_panic` and
//! `a_hash_with_anything_behind_it_or_another_hash_does_not_bind`; `tpm/binding.rs`
//! `qualifying_data_of_a_session_are_its_digest_bare_or_padded_and_nothing_else`.
//!
//! # The vTPM of another machine
//! A quote is only as good as what stands behind its key: anybody runs a software TPM, and every machine has a genuine one.
//! The key is the one in the data whose hash the CPU signed, or one that the caller pinned, or of unknown origin, which claims
//! say; a chain that does not hold is an error, not an unknown key. Tests: `tpm/azure.rs`
//! `a_quote_of_another_machines_vtpm_is_refused` and `every_field_of_the_td_report_is_the_quotes`; `tpm/quotes.rs`
//! `an_unpinned_key_without_certificates_is_of_unknown_origin`; `tpm/chain.rs`
//! `a_chain_to_a_root_that_is_not_pinned_is_an_error_and_not_an_unknown_key`.
//!
//! # The enclave that anybody could be
//! *dcap-qvl before 0.3.9, CVE-2026-22696 (GHSA-796p-j2gh-9m2q).* The QE identity was fetched and never verified, so any
//! enclave of a genuine platform could make the attestation key and sign quotes for TDs that never ran. Its signature, chain,
//! dates and kind are checked, and MRSIGNER, ISVPRODID, MISCSELECT, ATTRIBUTES and ISVSVN are compared. Tests: `tdx/past.rs`
//! `cve_2026_22696_the_qe_identity_is_verified_and_applied`; `tdx/documents.rs`
//! `the_quoting_enclave_is_the_one_of_the_identity`.
//!
//! # The TDX module that was not looked at
//! *dcap-qvl issue 124.* MRSIGNERSEAM and SEAMATTRIBUTES were compared with nothing, and the module's own TCB levels were not
//! asked. Tests: `tdx/past.rs` `a_tdx_module_that_is_not_intels_is_refused`; `tdx/tcb.rs`
//! `the_module_is_the_one_of_its_identity`.
//!
//! # The verdict that was true for everything but revoked
//! *dcap-qvl issue 125.* One boolean stood for nine statuses. Here the status is a claim, the convergence of platform,
//! enclave and module is Intel's, and a policy names the statuses it takes; Revoked is not even authentic. Tests:
//! `tdx/past.rs` `an_out_of_date_platform_is_never_told_as_up_to_date`; `tdx/tcb.rs`
//! `the_worst_of_platform_enclave_and_module_counts`.
//!
//! # The quote of four gigabytes
//! *Lenient parsers.* A signature data length of 0xffffffff was cut down to what was there, and the signature held. Every
//! length must be there in full, and after the quote there may be zeros alone, which nothing measures. Tests: `tdx/past.rs`
//! `signature_data_of_four_gigabytes_is_refused_by_its_length`; `tdx/layout.rs` `every_length_is_held_against_what_is_there`
//! and `zeros_may_follow_a_quote_and_nothing_else`.
//!
//! # The collateral that a platform signed for itself
//! *dcap-qvl, JavaScript (206, 207), and verifiers that took any chain to the root.* A platform's own chain ends at the
//! root too. TCB info and QE identity count from a signer right below the root that is no authority; each list counts from its
//! own authority, by name, key and signature. Tests: `tdx/past.rs` `collateral_signed_below_the_pck_ca_is_refused` and
//! `an_unsigned_revocation_list_revokes_nothing_and_clears_nothing`; `tdx/documents.rs`
//! `the_signer_stands_right_below_the_root`.
//!
//! # The collateral that outlived its welcome in a cache
//! Collateral that was verified once is not verified for ever: signatures are, dates and roots are held against each
//! use's own clock and anchors. Tests: `tdx/prepared.rs` `prepared_collateral_ends_when_it_ends`,
//! `prepared_collateral_of_a_simulator_is_worth_nothing_to_those_who_do_not_trust_it` and
//! `a_host_cannot_hide_newer_collateral_behind_older_of_its_own`; every other test of `tdx` judges with and without.
//!
//! # The genuine guest behind the wrong connection
//! *Relays and diversions of attested TLS (IETF SEAT drafts on attestation inside the handshake and after it).* Evidence that
//! is shown during a handshake can come from a genuine guest while the connection ends elsewhere. Here a guest signs the
//! exporter of the finished connection with a key that its evidence names, and a broker's secrets leave wrapped to the
//! attested key alone. Tests: crate `hanzo-client` `a_relayed_proof_fails_even_with_the_guest_s_tls_key`; crate
//! `hanzo-channel` `a_proof_holds_for_its_own_connection_keyset_and_key_alone`; `tests/adversary`
//! `a_connection_diverted_to_another_genuine_guest_sends_nothing`.
//!
//! # The evidence factory
//! *Confidential Containers, FOSDEM 2023.* Whoever gets a foothold in a guest that signs any report data asks it for
//! evidence over the data of another protocol. What is signed here is a hash over a statement that names its purpose, or
//! over a session's nonce and key; neither passes for the other, and every domain string is used once. Tests:
//! `composite.rs` `purposes_are_not_interchangeable` and
//! `rcar_evidence_is_no_statement_and_a_statement_is_no_rcar_evidence`; `tests/tidy` `domain_strings_are_unique_and_listed`.
//!
//! # The session that attested twice
//! *Key brokers that check a nonce at one time and use it at another.* A session attests once, one of several attempts at
//! the same time wins, and evidence for another session's nonce or key is not this session's. A session's cookie is no
//! secret worth stealing: keys leave wrapped to the attested key. Tests: crate `hanzo-kbs`
//! `a_challenge_counts_once_and_ends_with_its_time`, `of_concurrent_attestations_one_wins_and_none_panics` and
//! `evidence_for_another_nonce_key_or_session_is_refused`.
//!
//! # The token that brought its own key
//! *Verifiers of attestation results that read `jwk` from the header.* Keys are configured, the header's are not read.
//! Test: crate `hanzo-verifier` `a_key_in_the_header_is_never_trusted`.
//!
//! # The words beside the evidence
//! *guest-components pull request 1538.* A document repeats in plain JSON what was asked, and a verifier compares that. What
//! a foreign document says of itself is recomputed from what hardware signed. Tests: `foreign/nvidia.rs`
//! `the_nonce_beside_the_evidence_counts_for_nothing`; `foreign/rcar.rs`
//! `nonce_key_and_additional_evidence_are_all_under_the_signature`; `foreign/tinfoil.rs`
//! `a_recorded_document_with_the_caller_s_nonce_written_in_is_refused`.
//!
//! # The list for another part
//! *webpki, RUSTSEC-2026-0049.* A list that was issued for one distribution point was taken for certificates of another, and
//! a revoked one passed. Lists are not read by webpki here; one that says it is about a part of the certificates, or that
//! has any extension but its number and its authority's key, is no list. Tests: `snp/lists.rs`
//! `forged_foreign_and_broken_lists_are_refused`; `tdx/chain.rs` `lists_are_signed_fresh_and_obeyed`.
//!
//! # The bit that nobody signed
//! Each bit of each part of every accepted vector is flipped: refused, or in a region that is listed with its reason and
//! claims nothing more. Tests: `bitflip/snp.rs` `every_flipped_bit_of_real_snp_evidence_is_refused` and all its neighbours.
//!
//! # What is not answered here
//! Reports of EPYC Milan can be forged at any TCB (arXiv 2605.12990: the seed of VCEKs was extracted). Such a report is
//! authentic by every rule of this crate; `hanzo-policy` refuses the product for tiers 2 and up unless told otherwise.
//! Interposers on the memory bus and side channels leave no trace in evidence at all.
//! Revocation of TPM certificates is not looked at: pinning a root takes its issuers' word for every key.
