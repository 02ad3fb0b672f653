//! A validator as a guest's image runs it: a measured text, its account's key over a descriptor, a TPM's evidence, a folder that is empty
//! at each start. Beside it four with a simulator's evidence.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/forwarder.rs"]
#[allow(dead_code, reason = "nobody is cut off here")]
mod forwarder;
#[path = "support/process.rs"]
#[allow(dead_code, reason = "no refusals of RPC here")]
mod process;
#[path = "support/tpm.rs"]
mod tpm;

use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use forwarder::Forwarder;
use hanzo_attestation::{Anchors, Collateral, Digest256, UnixTime};
use hanzo_chain_links::{Admission, Appraised, Appraiser, Greeting, Identity, LinkError, PolicyAppraiser, Registered};
use hanzo_chain_node::account::{GivenAccount, GivenError};
use hanzo_chain_node::boot::{Account, ConsensusKey, ledger_key};
use hanzo_chain_node::{Config, Machine, NodeError, machine, observer, program, vote};
use hanzo_chain_rpc::calls::Submit;
use hanzo_chain_types::{Beginning, Candidate, assemble};
use hanzo_ledger::{Action, Address, Allocation, Canonical, Genesis, Network, Params, PublicKey, Transfer, Tx};
use hanzo_policy::{AppraisalPolicy, PcrValues, PrivacyTier, TpmPolicy, TpmReference};
use hanzo_signer::wallet::{Cipher, Cost};
use hanzo_signer::{MiningWallet, SecurityLevel};
use hanzo_simulated_tee::SimulatedProcessor;
use hanzo_verifier::VerifierContext;
use process::{Process, until, write};
use tpm::{SoftwareTpm, surroundings};
use zeroize::Zeroizing;

const NETWORK: u64 = 31_338;
const PASSPHRASE: &str = "six random words are good";
/// The 32 bytes that a broker keeps.
const KEY: [u8; 32] = *b"a broker keeps these thirty two.";
/// The folder of a process that is to be the validator, and that of its machine's TPM.
const BE_IT: &str = "HANZO_TEST_VOTER";
const TPM: &str = "HANZO_TEST_VOTER_TPM";

fn wallet(seed: u8) -> MiningWallet {
    MiningWallet::from_seed(SecurityLevel::MlDsa65, Zeroizing::new([seed; 32])).unwrap()
}

fn public(wallet: &MiningWallet) -> PublicKey {
    ledger_key(wallet.public()).unwrap()
}

fn account(n: usize) -> Address {
    Address::of(&public(&wallet(n as u8 + 1)))
}

/// A pipe that gave these bytes and ended.
fn pipe(bytes: &[u8]) -> File {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(bytes).unwrap();
    std::os::fd::OwnedFd::from(reader).into()
}

fn given() -> GivenAccount {
    GivenAccount::read(pipe(&KEY), 3).unwrap()
}

fn voter() -> Address {
    Address::of(&public(&given().wallet().unwrap()))
}

/// What the simulated validators ask of others: a simulator's, or a TPM's with this register.
fn policy(register: Digest256) -> AppraisalPolicy {
    let mut policy = hanzo_chain_simulated::policy().unwrap();
    policy.minimum_tier = PrivacyTier::AtRest;
    let reference = TpmReference {
        name: hanzo_attestation::name::Name::new("a-validators-image").unwrap(),
        config_digest: Digest256::of(b"its configuration"),
        pcrs: PcrValues([(4, register)].into()),
        pcrs_sha384: PcrValues::none(),
    };
    policy.with_tpm(TpmPolicy::any_pinned(vec![reference]))
}

fn beginning(user: &Address, tier_min: u8) -> Beginning {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Beginning {
        id: NETWORK,
        time_ms: now.as_millis() as u64,
        max_supply: 1_000_000_000,
        treasury: 0,
        allocations: vec![Allocation {
            address: *user,
            amount: 1_000_000,
        }],
        stake: 1_000,
        params: Params {
            epoch_blocks: 8,
            block_interval_ms: 200,
            fee_min: 10,
            burn_bp: 2_000,
            factor_bp: [0; 5],
            rate: [0; 5],
            epoch_cap: [0; 5],
            miner_cap: 0,
            model_deposit: 5_000,
            hosting_burn_min: 0,
            unbond_epochs: 3,
            claim_age_s: 86_400,
            tier_min: 2,
            simulated_earns: true,
            committee_max: 5,
            committee_min: 4,
            stake_min: 1_000,
            slash_bp: 5_000,
            reporter_bp: 1_000,
            validator_tier_min: tier_min,
            simulated_votes: true,
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The measured text.
fn text(genesis: &Genesis, peers: &[(Address, String)], simulator: &SimulatedProcessor) -> String {
    let peer = |(account, address): &(Address, String)| {
        format!("[[peer]]\naccount = \"{account}\"\naddress = \"{address}\"\n")
    };
    format!(
        "version = 1\nrole = \"validator\"\nnetwork = {NETWORK}\ngenesis = \"{}\"\nrpc = \"127.0.0.1:0\"\n\
         listen = \"127.0.0.1:0\"\naddress = \"127.0.0.1:1\"\nrequired_tier = 1\npolicy = '''\n{}'''\n\
         simulator_root = \"{}\"\n[account]\nkey_id = \"hanzo/validator/five\"\nsubject = \"five\"\n\
         [kbs]\naddress = \"127.0.0.1:1\"\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{}\"\n\
         ed25519 = \"{}\"\n{}",
        genesis.digest(),
        hanzo_chain_simulated::policy().unwrap().to_toml().unwrap(),
        hex(simulator.ark_der()),
        "ab".repeat(1952),
        "cd".repeat(32),
        peers.iter().map(peer).collect::<String>()
    )
}

/// The folders of four validators, which name the fifth as a peer.
fn folder(dir: &Path, n: usize, ways: &[Forwarder]) -> Process {
    let own = dir.join(n.to_string());
    fs::create_dir(&own).unwrap();
    let cheap = Cost {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };
    for (name, seed) in [("wallet.bin", n as u8 + 1), ("registrar.bin", n as u8 + 51)] {
        let file = wallet(seed)
            .export_with(PASSPHRASE, Cipher::XChaCha20Poly1305, cheap)
            .unwrap();
        write(&own.join(name), &file);
    }
    write(&own.join("passphrase"), PASSPHRASE.as_bytes());
    let mut toml = format!(
        "network = {NETWORK}\nlisten = \"127.0.0.1:0\"\nrpc = \"127.0.0.1:0\"\nevidence = \"simulated\"\n\
         simulator = \"../simulator.bin\"\npolicy = \"../policy.toml\"\nregistrar = \"registrar.bin\"\n"
    );
    for (to, way) in ways.iter().enumerate().filter(|(to, _)| *to != n) {
        let account = if to == 4 { voter() } else { account(to) };
        toml.push_str(&format!(
            "[[peer]]\naccount = \"{account}\"\naddress = \"{}\"\n",
            way.address
        ));
    }
    write(&own.join("validator.toml"), toml.as_bytes());
    Process::new(own)
}

/// Lets a validator know the TPM from now on: a line in its file, and SIGHUP.
fn pin(process: &Process, key: &Digest256) {
    let path = process.dir.join("validator.toml");
    let toml = fs::read_to_string(&path).unwrap();
    write(&path, format!("tpm_keys = [\"{key}\"]\n{toml}").as_bytes());
    process.signal("HUP");
}

/// The validator that this process is asked to be: the production program but for where the TPM is.
fn on_the_software_tpm(config: &Config) -> Result<Machine, NodeError> {
    let dev = PathBuf::from(std::env::var_os(TPM).unwrap());
    machine::hardware_in(config, |endorsements| surroundings(&dev, endorsements))
}

#[test]
fn the_validator_itself() {
    let Some(dir) = std::env::var_os(BE_IT).map(PathBuf::from) else {
        return;
    };
    let path = |name: &str| dir.join(name).into_os_string();
    let arguments = [
        "hanzo-validator".into(),
        "--dir".into(),
        path("state"),
        "--vote".into(),
        path("voter.toml"),
        "--genesis".into(),
        path("genesis.bin"),
        "--account-fd".into(),
        "3".into(),
    ];
    program::run_with("hanzo-validator", arguments, on_the_software_tpm);
}

/// Starts it: `dir` has its files, `dir/state` is what a guest has in memory.
fn start(process: &mut Process, tpm: &SoftwareTpm) {
    let dir = process.dir.parent().unwrap();
    let _ = fs::remove_dir_all(&process.dir);
    fs::create_dir(&process.dir).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" \"$@\" 3<&0 </dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_validator_itself", "--nocapture"])
        .env(BE_IT, dir)
        .env(TPM, &tpm.dev)
        .env("HANZO_LOG", "debug,commonware_consensus=warn,commonware_runtime=warn")
        .stdin(Stdio::from(pipe(&KEY)));
    process.start_as(command);
}

#[test]
fn it_joins_with_a_tpms_evidence_and_votes_again_after_it_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(tpm) = SoftwareTpm::start(&dir.path().join("machine")) else {
        return;
    };
    let simulator = SimulatedProcessor::for_tests();
    write(&dir.path().join("simulator.bin"), &simulator.to_material());
    let asked = policy(SoftwareTpm::register());
    write(&dir.path().join("policy.toml"), asked.to_toml().unwrap().as_bytes());
    let ways: Vec<_> = (0..5).map(|_| Forwarder::new()).collect();
    let mut four: Vec<_> = (0..4).map(|n| folder(dir.path(), n, &ways)).collect();
    four.iter_mut().for_each(Process::start);
    let candidates = four.iter().map(|process| {
        let path = process.dir.join("candidate.json");
        Candidate::parse(&until("a candidate", || fs::read(&path).ok())).unwrap()
    });
    let candidates: Vec<_> = candidates.collect();
    let user = wallet(200);
    let genesis = assemble(&candidates, beginning(&Address::of(&public(&user)), 1)).unwrap();
    for process in &four {
        write(&process.dir.join("genesis.new"), &genesis.to_bytes());
        fs::rename(process.dir.join("genesis.new"), process.dir.join("genesis.bin")).unwrap();
    }
    let connect = |processes: &[Process]| {
        for (way, process) in ways.iter().zip(processes) {
            way.set_target(&process.ready("link"));
        }
    };
    connect(&four);
    until("the first blocks", || (four[0].status().height >= 2).then_some(()));

    let own = dir.path().join("voter");
    fs::create_dir(&own).unwrap();
    let peers: Vec<_> = (0..4).map(|to| (account(to), ways[to].address.clone())).collect();
    write(&own.join("voter.toml"), text(&genesis, &peers, &simulator).as_bytes());
    write(&own.join("genesis.bin"), &genesis.to_bytes());
    let mut it = Process::new(own.join("state"));
    start(&mut it, &tpm);
    ways[4].set_target(&it.ready("link"));

    // Nobody takes its evidence before its TPM is pinned. It says which account it has, and nothing of the chain.
    let status = it.status();
    assert_eq!(status.node.account, Some(voter().to_string()));
    until("refusals of its evidence", || {
        let dialled = it.log().contains("link not made");
        dialled.then_some(())
    });
    assert_eq!((it.status().height, it.status().node.incarnation), (0, 0));
    four.iter().for_each(|process| pin(process, &tpm.key()));

    // Its account has no stake: it follows.
    until("it follows", || {
        let status = it.status();
        (status.height > 4 && status.node.incarnation == 1).then_some(())
    });
    let from = it.status().height;
    until("it goes on following", || {
        (it.status().height >= from + 4).then_some(())
    });
    let status = it.status();
    assert!(!status.node.votes && status.node.incarnation == 1);

    // Its operator funds the account; nobody else can register it.
    let account_of_user = Account::open(user, genesis.network()).unwrap();
    let tx = Tx {
        network: genesis.network(),
        sender: account_of_user.public().clone(),
        nonce: 0,
        fee: 10,
        expires: u64::MAX,
        action: Action::Transfer(Transfer {
            to: voter(),
            amount: 2_000,
        }),
    };
    let transaction = Some(hex(&account_of_user.transaction(tx).unwrap().to_bytes()));
    four[2].call(&Submit { transaction }).unwrap();
    let votes = |it: &Process, incarnation: u64| {
        let status = it.status();
        (status.node.votes && status.node.incarnation == incarnation).then_some(())
    };
    until("it votes", || votes(&it, 1));

    // Four of five are a quorum: its votes count where one of the others is dead.
    four[0].kill();
    let from = four[1].status().height;
    until("blocks with its votes", || {
        (four[1].status().height >= from + 6).then_some(())
    });
    four[0].start();
    connect(&four);
    until("the other one votes again", || votes(&four[0], 2));

    // A guest that ends leaves nothing: the next boot knows its number from the chain.
    it.kill();
    start(&mut it, &tpm);
    ways[4].set_target(&it.ready("link"));
    until("it votes again, with a later key", || votes(&it, 2));
    let shown: Vec<_> = it.status().node.peers.iter().map(|peer| peer.connected).collect();
    assert_eq!(shown, [true; 4]);

    // Nothing of the key is in its folder or its words.
    let seed = given().wallet().unwrap();
    for file in fs::read_dir(&it.dir)
        .unwrap()
        .flatten()
        .filter(|file| file.path().is_file())
    {
        let bytes = fs::read(file.path()).unwrap();
        let has = |secret: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
        assert!(!has(&KEY) && !has(hex(&KEY).as_bytes()), "{:?}", file.path());
        assert!(!has(seed.phrase().unwrap().as_bytes()), "{:?}", file.path());
    }
    for process in &mut four {
        assert_eq!(process.stop(), Some(0), "{}", process.log());
    }
}

/// A greeting with a TPM's evidence, and what it was made of.
fn greeting(attester: &dyn hanzo_chain_links::Attester, network: Network) -> Greeting {
    let account = Account::open(given().wallet().unwrap(), network).unwrap();
    let key = hanzo_chain_node::boot::draw(&network, &account.address(), 1, false).unwrap();
    let identity = Identity::attest(
        network,
        account.public().clone(),
        1,
        (key.public, key.proof),
        attester,
        &mut |request| account.sign(request),
    );
    identity.unwrap().greeting().clone()
}

fn context(policy: AppraisalPolicy, anchors: Anchors) -> PolicyAppraiser {
    PolicyAppraiser(VerifierContext {
        anchors,
        collateral: Collateral::default(),
        policy,
    })
}

fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn code(refused: Result<Appraised, LinkError>) -> String {
    match refused.unwrap_err() {
        LinkError::Evidence { code, .. } => code.to_owned(),
        other => other.code().to_owned(),
    }
}

#[test]
fn a_tpms_evidence_is_tier_1_where_its_key_is_pinned_and_nothing_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let Some(tpm) = SoftwareTpm::start(&dir.path().join("machine")) else {
        return;
    };
    let config = loaded(dir.path(), 1, |text| text).unwrap();
    let machine = machine::hardware_in(&config, |endorsements| surroundings(&tpm.dev, endorsements)).unwrap();
    let network = Network {
        genesis: Digest256([1; 32]),
        ..hanzo_chain_types::before_genesis(NETWORK)
    };
    let it = greeting(&*machine.attester, network);
    let pinned = || Anchors::vendor().with_tpm_ak(tpm.key());
    let asked = || policy(SoftwareTpm::register());
    let judge = |by: &PolicyAppraiser| by.appraise(&it.evidence, &it.keys, now());
    let found = judge(&context(asked(), pinned())).unwrap();
    assert_eq!((found.tier, found.simulated), (1, false));

    let refused = [
        context(asked(), Anchors::vendor()),
        context(asked(), Anchors::vendor().with_tpm_ak(Digest256([9; 32]))),
        context(policy(Digest256([9; 32])), pinned()),
        context(hanzo_chain_simulated::policy().unwrap(), pinned()),
    ];
    let codes: Vec<_> = refused.iter().map(|by| code(judge(by))).collect();
    let unpinned = "revocation.missing";
    assert_eq!(codes, [unpinned, unpinned, "tpm.pcrs", "tier.cpu_tee.no_evidence"]);
    let why = judge(&refused[0]).unwrap_err().to_string();
    assert!(
        why.contains("expected a key that is pinned or chains to a pinned root"),
        "{why}"
    );
    let mut other = it.clone();
    other.keys.incarnation = 2;
    let by = context(asked(), pinned());
    let refusal = code(by.appraise(&other.evidence, &other.keys, now()));
    assert_eq!(refusal, "binding.foreign.report_data");

    // The network's rules come after the policy: a tier that is too low, a simulator's where none votes.
    let of = |keys: &hanzo_chain_types::ValidatorKeys| Registered {
        incarnation: keys.incarnation,
        key: keys.key_digest(),
    };
    let admitted = |greeting: &Greeting, appraiser: &dyn Appraiser, simulated: bool, tier_min: u8| {
        let registered = of(&greeting.keys);
        let by = Admission {
            network: &network,
            me: &Address([5; 32]),
            dialled: None,
            registered: &|_| Some(registered),
            appraiser,
            simulated,
            tier_min,
            looks: false,
            now: now(),
        };
        greeting.clone().judge(&by).map(|peer| peer.appraised)
    };
    assert_eq!(admitted(&it, &by, false, 1).unwrap().tier, 1);
    assert_eq!(code(admitted(&it, &by, true, 2)), "links.tier");
    let simulator = SimulatedProcessor::for_tests();
    let simulated = hanzo_chain_simulated::machine(&simulator).unwrap();
    let peer = greeting(&*simulated.attester, network);
    assert_eq!(
        admitted(&peer, &*machine.appraiser, true, 2).unwrap(),
        Appraised {
            tier: 2,
            simulated: true
        }
    );
    assert_eq!(code(admitted(&peer, &*machine.appraiser, false, 2)), "links.simulated");
    let without: Arc<dyn Appraiser> = Arc::new(context(hanzo_chain_simulated::policy().unwrap(), Anchors::vendor()));
    assert!(admitted(&peer, &*without, true, 2).is_err(), "its root is not pinned");
}

/// A validator's configuration over a genesis that asks for `tier_min`, after `change`.
fn loaded(dir: &Path, tier_min: u8, change: impl Fn(String) -> String) -> Result<Config, NodeError> {
    load(dir, |genesis| genesis.params.validator_tier_min = tier_min, change)
}

fn load(dir: &Path, rules: impl Fn(&mut Genesis), change: impl Fn(String) -> String) -> Result<Config, NodeError> {
    let simulator = SimulatedProcessor::for_tests();
    let candidates: Vec<_> = (0..4).map(|n| candidate(&simulator, n)).collect();
    let mut genesis = assemble(&candidates, beginning(&Address([7; 32]), 1)).unwrap();
    rules(&mut genesis);
    let peers: Vec<_> = (0..4_usize)
        .map(|n| (account(n), format!("127.0.0.1:{}", 4000 + n)))
        .collect();
    let files = observer::Files {
        config: dir.join("voter.toml"),
        genesis: dir.join("genesis.bin"),
        dir: dir.to_owned(),
    };
    write(&files.config, change(text(&genesis, &peers, &simulator)).as_bytes());
    write(&files.genesis, &genesis.to_bytes());
    vote::load(&files, given())
}

fn candidate(simulator: &SimulatedProcessor, n: usize) -> Candidate {
    let network = hanzo_chain_types::before_genesis(NETWORK);
    let machine = hanzo_chain_simulated::machine(simulator).unwrap();
    let account = Account::open(wallet(n as u8 + 1), network).unwrap();
    let key = hanzo_chain_node::boot::draw(&network, &account.address(), 1, false).unwrap();
    let identity = Identity::attest(
        network,
        account.public().clone(),
        1,
        (key.public, key.proof),
        &*machine.attester,
        &mut |request| account.sign(request),
    );
    let greeting = identity.unwrap().greeting().clone();
    Candidate {
        keys: greeting.keys,
        owner: account.public().clone(),
        registrar: public(&wallet(n as u8 + 51)),
        address: "127.0.0.1:1".into(),
        evidence: greeting.evidence.to_vec(),
    }
}

#[test]
fn a_measured_text_fits_its_genesis_or_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let same = |text: String| text;
    let config = loaded(dir.path(), 1, same).unwrap();
    assert_eq!((config.peers.len(), config.pins.simulator_root.is_some()), (4, true));
    let field = |refused: Result<Config, NodeError>| match refused.err().unwrap() {
        NodeError::Value { field, .. } => field.to_owned(),
        other => other.code().to_owned(),
    };
    assert_eq!(field(loaded(dir.path(), 2, same)), "required_tier");
    let higher = |text: String| text.replace("required_tier = 1", "required_tier = 2");
    assert!(loaded(dir.path(), 2, higher).is_ok());
    let real = |genesis: &mut Genesis| genesis.params.simulated_votes = false;
    let without = |text: String| {
        let keep = |line: &&str| !line.starts_with("simulator_root");
        text.lines().filter(keep).map(|line| format!("{line}\n")).collect()
    };
    assert_eq!(field(load(dir.path(), real, same)), "simulator_root");
    assert!(load(dir.path(), real, without).is_ok());
    assert_eq!(
        field(loaded(dir.path(), 1, |text| text.replace("31338", "31339"))),
        "id"
    );
    let observer = |text: String| {
        let to = text.find("rpc =").unwrap();
        format!(
            "{}rpc = \"127.0.0.1:0\"\n[[follow]]\naddress = \"127.0.0.1:1\"\n",
            text[..to].replace("\"validator\"", "\"observer\"")
        )
    };
    assert_eq!(field(loaded(dir.path(), 1, observer)), "node.config.role");
    let as_observer = observer::Files {
        config: dir.path().join("voter.toml"),
        genesis: dir.path().join("genesis.bin"),
        dir: dir.path().to_owned(),
    };
    assert!(
        as_observer.load().is_ok(),
        "the text of the last line is an observer\u{2019}s"
    );
    loaded(dir.path(), 1, same).unwrap();
    assert_eq!(as_observer.load().err().unwrap().code(), "node.config.role");
}

#[test]
fn a_descriptor_gives_exactly_the_key_or_nothing() {
    let read = |file: File| GivenAccount::read(file, 3).map(|given| public(&given.wallet().unwrap()));
    let key = read(pipe(&KEY)).unwrap();
    assert_ne!(key, read(pipe(&[1; 32])).unwrap(), "another key is another account");
    assert_ne!(Address::of(&key), Address::of(&public(&wallet(KEY[0]))));
    let (number, nothing) = (3, pipe(&[]));
    assert_eq!(read(nothing), Err(GivenError::Short { number, got: 0 }));
    assert_eq!(read(pipe(&KEY[1..])), Err(GivenError::Short { number, got: 31 }));
    assert_eq!(
        read(pipe(&[KEY.as_slice(), &[0]].concat())),
        Err(GivenError::Long { number })
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write(&path, &KEY);
    assert_eq!(read(File::open(&path).unwrap()).unwrap(), key);
    let others = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&path, others).unwrap();
    let kind = |got| Err(GivenError::Kind { number, got });
    assert_eq!(read(File::open(&path).unwrap()), kind("a file that others may read"));
    let unnamed = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(read(unnamed).unwrap(), key, "a file without a name, as a memfd");
    assert_eq!(
        read(File::open("/dev/zero").unwrap()),
        kind("a terminal or another device")
    );
    assert_eq!(read(File::open("/").unwrap()), kind("something else"));
    for number in [-1, 0, 2, 1 << 20] {
        let refused = GivenAccount::take(number).err().unwrap();
        assert_eq!(refused.code(), "node.account.closed");
    }
}
