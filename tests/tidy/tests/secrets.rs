//! Layer rule 6: what holds a secret can be neither copied nor shown.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_tests_tidy::source::Source;
use hanzo_tests_tidy::tree::{production, root, shown, text};

/// Every type that holds a secret, by the folder of its crate.
const SECRET_TYPES: &[(&str, &[&str])] = &[
    (
        "attestation/simulator",
        &[
            "AkKey",
            "Authority",
            "ReportKey",
            "SimulatedDevice",
            "SimulatedGuest",
            "SimulatedNvidia",
            "SimulatedProcessor",
            "SimulatedRimIssuer",
            "SimulatedTdx",
            "SimulatedTpm",
            "TdxIssuer",
            "TdxKey",
            "TdxSubject",
            "VendorKey",
        ],
    ),
    (
        "enclave/channel",
        &[
            "Accepted",
            "ChannelKey",
            "Exporter",
            "PendingProof",
            "TlsIdentity",
            "TlsKey",
        ],
    ),
    ("enclave/chain/validator/links", &["Identity", "Inner"]),
    (
        "enclave/chain/validator/node",
        &[
            "Account",
            "Boot",
            "Config",
            "ConsensusKey",
            "GivenAccount",
            "Keys",
            "WaitingKey",
            "Wallets",
            "Watched",
        ],
    ),
    ("enclave/chain/validator/simulated", &["Guest"]),
    ("enclave/device", &["NvFence"]),
    (
        "enclave/engine-llama",
        &["Answering", "Embedder", "Inputs", "Job", "Jobs", "Llama", "Worker"],
    ),
    ("enclave/engine-upstream", &["Events"]),
    (
        "enclave/guest",
        &[
            "Again",
            "BootKeys",
            "Booted",
            "Candidate",
            "Connection",
            "Current",
            "Epoch",
            "Fenced",
            "FreshKey",
            "Gateway",
            "GatewayOptions",
            "GrantDesk",
            "Granted",
            "Held",
            "InForce",
            "Incoming",
            "Keeper",
            "Keyed",
            "LiveKey",
            "LiveKeys",
            "MessageKeys",
            "OnConnection",
            "Opened",
            "PackedModel",
        ],
    ),
    ("enclave/pack", &["PackCipher", "Sealed"]),
    (
        "enclave/receipts",
        &[
            "AciPending",
            "AciView",
            "Owner",
            "Pending",
            "PublicLog",
            "ReceiptLog",
            "RequestStart",
        ],
    ),
    (
        "enclave/sealed",
        &[
            "AnswerOpener",
            "AnswerSealer",
            "Buffer",
            "ChunkReader",
            "ChunkSealer",
            "Decoder",
            "Exported",
            "Part",
            "PartReader",
            "PartSealer",
            "PendingAnswer",
            "RequestOpener",
            "RequestSealer",
            "ResponseKeys",
            "ResponseOpener",
            "ResponseSealer",
        ],
    ),
    (
        "enclave/signer",
        &["Expanded", "KbsCounter", "MiningWallet", "Signer", "SignerKey"],
    ),
    ("image", &["Holder", "LogHolder", "ReleaseLog"]),
    ("image/appliance", &["RunningBroker", "Sealed", "SealedAdapter"]),
    ("image/chain", &["Simulator"]),
    ("image/model", &["Broker"]),
    (
        "kbs/pqc",
        &[
            "Aes256Gcm",
            "Context",
            "DecapsulationKey",
            "Dek",
            "ForeignSigningKey",
            "GcmKey",
            "HybridKey",
            "Key",
            "MessageContext",
            "MessageKey",
            "NoteSigningKeys",
            "PrivateKey",
            "SharedSecret",
            "SigningKey",
            "SigningKeys",
        ],
    ),
    (
        "kbs/protocol",
        &["EcPrivateKey", "HeldLease", "JwePrivateKey", "LeaseKey", "OpenedGrant"],
    ),
    ("kbs/postgres", &["Expected", "PgLink", "Server"]),
    ("kbs/server", &["Broker", "Identity", "TokenKey", "TpmFence", "Vaults"]),
    ("kbs/store", &["ColumnSealer", "EncryptedDb", "KeyFile", "Store"]),
    ("kbs/vault", &["Root", "TenantKek"]),
    ("verifier", &["ApiKey"]),
    ("verifier/cli", &["LogPlace", "LogSource", "Signer"]),
    (
        "verifier/client",
        &[
            "AnswerBody",
            "ConnectOptions",
            "Guard",
            "Handshake",
            "Inner",
            "OwnerSecret",
            "Passing",
            "Records",
            "RequestSigner",
            "SealedBody",
            "Stream",
            "Unproven",
        ],
    ),
];

/// Names of other crates' types that make whatever holds one secret too. Beside them, a type of [`SECRET_TYPES`] does so
/// inside its own crate.
const SECRET_PARTS: &[&str] = &[
    "Zeroizing",
    "PqdsaKeyPair",
    "EcdsaKeyPair",
    "Ed25519KeyPair",
    "KeyPair",
    "LessSafeKey",
    "GcmKey",
    "MessageContext",
    "MessageKey",
    "EncodingKey",
    "Dek",
    "SigningKeys",
    "PrivateKey",
    "SharedSecret",
    "Exporter",
    "OwnerSecret",
    "ColumnSealer",
    "BootKeys",
    "OpenedGrant",
    "TenantKek",
    "ApiKey",
];

/// Implement `Debug` by hand, for a foreign trait or for tests, and show nothing secret: read the code before adding one.
const SHOWN_WITHOUT_SECRET: &[(&str, &str)] = &[
    ("enclave/channel", "TlsKey"),
    ("kbs/protocol", "OpenedGrant"),
    ("kbs/store", "EncryptedDb"),
    ("kbs/store", "Store"),
];

/// Held behind an `Arc`, or sharing their name with a harmless type: what holds one is not judged for that.
const NOT_FOLLOWED: &[&str] = &["Broker", "ChannelKey", "Guard", "Inner", "RequestSigner"];

const LEAKS: &[&str] = &["Clone", "Copy", "Debug", "Display", "Serialize", "Deref"];

struct Type {
    name: String,
    place: String,
    derives: String,
    body: String,
}

#[test]
fn rule_6_secret_types_are_listed_and_neither_copied_nor_shown() {
    let mut listed: BTreeMap<(String, String), bool> = SECRET_TYPES
        .iter()
        .flat_map(|(folder, names)| names.iter().map(|n| ((folder.to_string(), n.to_string()), false)))
        .collect();
    let mut wrong = Vec::new();
    for file in production(&root()) {
        let source = Source::without_tests(&text(&file));
        let place = shown(&file);
        let krate = place.split("/src/").next().unwrap_or_default().to_owned();
        let own = SECRET_TYPES
            .iter()
            .filter(|(folder, _)| *folder == krate)
            .flat_map(|(_, names)| names.iter());
        let words = SECRET_PARTS.iter().chain(own).copied();
        let words: BTreeSet<&str> = words.filter(|w| !NOT_FOLLOWED.contains(w)).collect();
        for found in types(&source.code, &place) {
            let key = (krate.clone(), found.name.clone());
            let holds: Vec<_> = field_types(&found.body).filter(|w| words.contains(w)).collect();
            match listed.get_mut(&key) {
                Some(seen) => *seen = true,
                None if holds.is_empty() => continue,
                None => wrong.push(format!(
                    "{}: {} holds {holds:?} and is not listed",
                    found.place, found.name
                )),
            }
            for leak in LEAKS {
                if words_of(&found.derives).any(|w| w == *leak) {
                    wrong.push(format!("{}: {} derives {leak}", found.place, found.name));
                }
            }
        }
        for line in source.code.lines().filter(|l| l.trim_start().starts_with("impl")) {
            let Some((of, on)) = line.split_once(" for ") else {
                continue;
            };
            let name = words_of(on).next().unwrap_or_default();
            let is_secret = listed.contains_key(&(krate.clone(), name.to_owned()));
            let shown = SHOWN_WITHOUT_SECRET.contains(&(krate.as_str(), name));
            for leak in LEAKS.iter().filter(|l| !shown || **l != "Debug") {
                if is_secret && words_of(of).any(|w| w == *leak) {
                    wrong.push(format!("{place}: {name} implements {leak}"));
                }
            }
        }
    }
    wrong.extend(
        listed
            .iter()
            .filter(|(_, seen)| !**seen)
            .map(|((folder, name), _)| format!("{folder} has no type {name}: take it off the list")),
    );
    assert!(wrong.is_empty(), "rule 6:\n{}", wrong.join("\n"));
}

/// Words in the places of types: after a field's colon, in a tuple's or variant's parentheses.
fn field_types(body: &str) -> impl Iterator<Item = &str> {
    body.lines().flat_map(|line| {
        let after = line.split_once(": ").or_else(|| line.split_once('('));
        let of_tuple = line.ends_with("),") || line.ends_with(',') && !line.contains(' ');
        words_of(after.map_or(if of_tuple { line } else { "" }, |(_, types)| types))
    })
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty())
}

/// The structs and enums of a file. Relies on rustfmt: an item begins its line and its brace ends one.
fn types(code: &str, place: &str) -> Vec<Type> {
    let mut found = Vec::new();
    let mut derives = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let item = line.trim_start();
        let indent = line.len() - item.len();
        if item.starts_with("#[") {
            derives.push_str(item);
            continue;
        }
        let bare = item
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ")
            .trim_start_matches("pub ");
        let after = bare.strip_prefix("struct ").or_else(|| bare.strip_prefix("enum "));
        if let Some(name) = after.and_then(|a| words_of(a).next()) {
            let mut body = after
                .unwrap_or_default()
                .strip_prefix(name)
                .unwrap_or_default()
                .to_owned();
            if !item.ends_with(';') && !item.ends_with("{}") {
                for line in lines.by_ref() {
                    let inner = line.trim_start();
                    if line.len() - inner.len() == indent && (inner.starts_with('}') || inner.starts_with(')')) {
                        break;
                    }
                    body.push_str(inner);
                    body.push('\n');
                }
            }
            let (name, place) = (name.to_owned(), place.to_owned());
            found.push(Type {
                name,
                place,
                derives: derives.clone(),
                body,
            });
        }
        if !item.is_empty() && !item.starts_with(|c: char| !c.is_alphanumeric()) {
            derives.clear();
        }
    }
    found
}

#[test]
fn types_are_found_with_their_derives_and_fields() {
    let code = "#[derive(Debug)]\npub struct A(Zeroizing<u8>);\n\nstruct B {\n    a: A,\n}\n";
    let found = types(code, "x");
    assert_eq!(found.len(), 2);
    assert!(found[0].derives.contains("Debug") && found[0].body.contains("Zeroizing"));
    assert!(found[1].derives.is_empty() && found[1].body.contains("A"));
}
