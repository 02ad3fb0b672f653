//! Signatures: from a transaction that came to one whose every signature verified.

use hanzo_attestation::keyset::{Keyset, SignerKeys};
use hanzo_attestation::{Digest256, Digest384};
use hanzo_pqc::sign::{Signature, SignatureSuite, VerifyingKeys};
use hanzo_pqc::{Domain, to_hex};
use hanzo_verifier::receipt::{Outcome, Receipt, VerifiedReceipt, verify_receipt};

use crate::claim::{
    BootSignature, Claim, ComputeClaim, DataClaim, EndorsedBoot, Heartbeat, HostingClaim, InferenceClaim, LeaseNote,
    Payment, PaymentTerms, Residency, VoucherNote, challenge,
};
use crate::codec::Canonical;
use crate::network::{Address, Network, message, verify};
use crate::state::State;
use crate::tx::{Action, Endorsement, RegisterBoot, ReportConflict, RotateConsensusKey, SignedTx, TX_BYTES_MAX, Tx};
use crate::validator::NewKey;
use crate::{KEYSET_BYTES_MAX, Reject};

/// A transaction whose sender signed it for one network, and whose evidence verified against the boots registered there.
/// Only [`SignedTx::verify`] makes one:
/// ```compile_fail,E0451
/// use hanzo_ledger::{Address, Tx, VerifiedTx};
/// fn forge(signed: hanzo_ledger::SignedTx, sender: Address) -> VerifiedTx {
///     VerifiedTx { digest: signed.tx.digest(), signed, sender, proven: Default::default() }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct VerifiedTx {
    signed: SignedTx,
    digest: Digest256,
    sender: Address,
    proven: Proven,
}

/// What the evidence of a claim says, once it verified.
#[derive(Debug, Clone)]
pub(crate) enum Proven {
    /// The transaction brings none.
    Nothing,
    /// A receipt, and who pays for it.
    Answer(Box<VerifiedReceipt>, Address),
    /// A lessee's word, about the heartbeat of this boot at this beacon.
    Lease(Address, Digest384, Digest256),
    /// What a boot holds, at this beacon, out of so many leaves.
    Resident(Digest256, u64),
    /// A recipient.
    Delivery(Address),
    /// A keyset, endorsed.
    Boot(Box<Keyset>, Digest384),
}

impl VerifiedTx {
    /// What was signed.
    pub fn tx(&self) -> &Tx {
        &self.signed.tx
    }

    /// With its signature.
    pub fn signed(&self) -> &SignedTx {
        &self.signed
    }

    /// SHA-256 of the transaction without signature.
    pub fn digest(&self) -> Digest256 {
        self.digest
    }

    /// Whose.
    pub fn sender(&self) -> Address {
        self.sender
    }

    pub(crate) fn proven(&self) -> &Proven {
        &self.proven
    }
}

impl SignedTx {
    /// Checks every signature in it: the sender's, and those of customers, lessees, recipients, registrars and boots.
    /// `state` is that of the block before; a boot counts from the block after the one that registers it.
    ///
    /// # Establishes
    /// The sender asked for exactly this on exactly this network; each party to the evidence signed what the claim says of it.
    ///
    /// # Does not establish
    /// That it can be applied: nonces, balances, caps and double claims are for [`crate::State::apply`].
    ///
    /// # Errors
    /// [`Reject`].
    pub fn verify(self, state: &State) -> Result<VerifiedTx, Reject> {
        let network = state.network();
        let tx = &self.tx;
        same_network(network, &tx.network)?;
        let bytes = self.to_bytes().len();
        if bytes > TX_BYTES_MAX {
            return Err(Reject::TooLong {
                what: "transaction",
                max: TX_BYTES_MAX,
                got: bytes,
            });
        }
        verify(
            "sender",
            &tx.sender,
            Domain::Transaction,
            &tx.message(),
            &self.signature,
        )?;
        let sender = Address::of(&tx.sender);
        let proven = match &tx.action {
            Action::RegisterBoot(register) => boot(state, sender, register)?,
            Action::Claim(claim) => evidence(state, sender, claim)?,
            Action::RegisterValidator(register) => consensus_key(state, &sender, &register.key)?,
            Action::RotateConsensusKey(rotate) => rotation(state, rotate)?,
            Action::ReportConflict(report) => conflict(network, report)?,
            _ => Proven::Nothing,
        };
        Ok(VerifiedTx {
            digest: tx.digest(),
            sender,
            proven,
            signed: self,
        })
    }
}

pub(crate) fn same_network(expected: &Network, got: &Network) -> Result<(), Reject> {
    if expected == got {
        return Ok(());
    }
    Err(Reject::Network {
        expected: *expected,
        got: *got,
    })
}

fn evidence(state: &State, sender: Address, claim: &Claim) -> Result<Proven, Reject> {
    match claim {
        Claim::Inference(claim) => answer(state, sender, claim),
        Claim::Compute(claim) => lease(state, claim),
        Claim::Hosting(claim) => resident(state, claim),
        Claim::Registration(_) => Ok(Proven::Nothing),
        Claim::Data(claim) => delivery(state.network(), claim),
    }
}

fn answer(state: &State, sender: Address, claim: &InferenceClaim) -> Result<Proven, Reject> {
    let signed =
        hanzo_verifier::receipt::SignedReceipt::from_bytes(&claim.receipt).map_err(|e| Reject::Receipt(e.into()))?;
    let keyset = state.keyset(&signed.receipt.keyset_digest)?;
    let receipt = verify_receipt(&claim.receipt, keyset)?;
    if receipt.receipt().outcome == Outcome::Failed {
        return Err(Reject::Failed);
    }
    counted(receipt.receipt())?;
    let network = state.network();
    match &claim.payment {
        Payment::CoSigned(payment) => {
            let terms = PaymentTerms {
                miner: sender,
                receipt: receipt.digest(),
                fee: claim.fee,
            };
            let text = message(network, &terms);
            verify("payment", &claim.customer, Domain::Payment, &text, &payment.signature)?;
        }
        Payment::Prepaid(payment) => {
            let note = VoucherNote {
                voucher: payment.voucher,
                cumulative: payment.cumulative,
            };
            let text = message(network, &note);
            verify(
                "voucher note",
                &claim.customer,
                Domain::VoucherNote,
                &text,
                &payment.signature,
            )?;
        }
    }
    Ok(Proven::Answer(Box::new(receipt), Address::of(&claim.customer)))
}

/// That the measured engine counted the tokens: whoever runs a server behind it could have it say any number.
pub(crate) fn counted(receipt: &Receipt) -> Result<(), Reject> {
    receipt.counted_by.map_or(Ok(()), |_| Err(Reject::Counted))
}

fn lease(state: &State, claim: &ComputeClaim) -> Result<Proven, Reject> {
    let network = state.network();
    let lease = state.lease(&claim.lease)?;
    let beacon = state.beacon(claim.epoch)?;
    let heartbeat = Heartbeat {
        lease: claim.lease,
        epoch: claim.epoch,
        beacon,
        gpu_evidence: claim.gpu_evidence,
    };
    let keyset = state.keyset(&lease.keyset)?;
    by_boot(
        "heartbeat",
        keyset,
        Domain::Heartbeat,
        &message(network, &heartbeat),
        &claim.heartbeat,
    )?;
    let note = LeaseNote {
        lease: claim.lease,
        seconds: claim.seconds,
    };
    let text = message(network, &note);
    verify("lease note", &claim.lessee, Domain::LeaseNote, &text, &claim.signature)?;
    Ok(Proven::Lease(Address::of(&claim.lessee), lease.keyset, beacon))
}

fn resident(state: &State, claim: &HostingClaim) -> Result<Proven, Reject> {
    let model = state.model(&claim.root)?;
    let keyset = state.keyset(&claim.keyset)?;
    if !keyset.models.iter().any(|m| m.weights_root == claim.root) {
        return Err(Reject::Residency {
            what: "the boot's keyset does not name this model",
        });
    }
    let beacon = state.beacon(claim.epoch)?;
    let index = challenge(&beacon, &claim.keyset, &claim.root, model.leaves);
    let root = hanzo_attestation::merkle::root_from_path(claim.leaf, index, model.leaves, &claim.path);
    if root != Some(claim.root) {
        return Err(Reject::Residency {
            what: "the path does not lead from the leaf that the beacon chose to the weights root",
        });
    }
    let residency = Residency {
        root: claim.root,
        epoch: claim.epoch,
        beacon,
        index,
        leaf: claim.leaf,
        answer: claim.answer,
    };
    let text = message(state.network(), &residency);
    by_boot("residency", keyset, Domain::Residency, &text, &claim.signature)?;
    Ok(Proven::Resident(beacon, model.leaves))
}

fn delivery(network: &Network, claim: &DataClaim) -> Result<Proven, Reject> {
    let text = message(network, &claim.delivery);
    verify("delivery", &claim.recipient, Domain::Delivery, &text, &claim.signature)?;
    Ok(Proven::Delivery(Address::of(&claim.recipient)))
}

fn boot(state: &State, sender: Address, register: &RegisterBoot) -> Result<Proven, Reject> {
    let keyset = parse_keyset(&register.keyset)?;
    receipt_keys(&keyset.receipt_keys)?;
    let digest = Digest384::of(&register.keyset);
    let endorsed = EndorsedBoot {
        miner: sender,
        incarnation: register.incarnation,
        keyset: digest,
    };
    let text = message(state.network(), &endorsed);
    endorsed_by(state, Domain::Endorsement, &text, &register.endorsements)?;
    Ok(Proven::Boot(Box::new(keyset), digest))
}

/// Whether enough of the genesis' registrars signed `text`.
fn endorsed_by(state: &State, domain: Domain, text: &[u8], endorsements: &[Endorsement]) -> Result<(), Reject> {
    let genesis = state.genesis();
    crate::codec::ascending("endorsements", endorsements.iter().map(|e| e.registrar))?;
    for endorsement in endorsements {
        let key = genesis.registrars.get(usize::from(endorsement.registrar));
        let key = key.ok_or(Reject::Unknown { what: "registrar" })?;
        verify("endorsement", key, domain, text, &endorsement.signature)?;
    }
    let (need, got) = (usize::from(genesis.threshold), endorsements.len());
    if got < need {
        return Err(Reject::Endorsements { need, got });
    }
    Ok(())
}

/// The key is held, and registrars verified the evidence for exactly this validator, incarnation and key.
fn consensus_key(state: &State, validator: &Address, new: &NewKey) -> Result<Proven, Reject> {
    let network = state.network();
    let text = new.possession_message(network, validator);
    verify(
        "consensus key",
        &new.key,
        Domain::ChainPossession,
        &text,
        &new.possession,
    )?;
    let text = message(network, &new.endorsed(validator));
    endorsed_by(state, Domain::ValidatorEndorsement, &text, &new.endorsements)?;
    Ok(Proven::Nothing)
}

fn rotation(state: &State, rotate: &RotateConsensusKey) -> Result<Proven, Reject> {
    let validator = Address::of(&rotate.owner);
    let text = rotate.key.rotation_message(state.network(), &validator);
    verify("owner", &rotate.owner, Domain::RotateKey, &text, &rotate.signature)?;
    consensus_key(state, &validator, &rotate.key)
}

/// One key cast both votes on this network, and may not have.
fn conflict(network: &Network, report: &ReportConflict) -> Result<Proven, Reject> {
    let (first, second) = (&report.first, &report.second);
    first.vote.conflict(&second.vote)?;
    for (what, signed) in [("first vote", first), ("second vote", second)] {
        let vote = &signed.vote;
        verify(
            what,
            &report.key,
            vote.domain(),
            &vote.message(network),
            &signed.signature,
        )?;
    }
    Ok(Proven::Nothing)
}

/// Reads a keyset in its one spelling.
pub(crate) fn parse_keyset(bytes: &[u8]) -> Result<Keyset, Reject> {
    hanzo_attestation::jcs::from_slice("keyset", bytes, KEYSET_BYTES_MAX)
        .map_err(|e| Reject::Keyset { what: e.to_string() })
}

fn receipt_keys(keys: &SignerKeys) -> Result<VerifyingKeys, Reject> {
    let bad = |what: &str| Reject::Keyset { what: what.to_owned() };
    let suite = SignatureSuite::from_name(&keys.suite).ok_or_else(|| bad("receipt_keys: unknown suite"))?;
    VerifyingKeys::from_hex(suite, &keys.ml_dsa, &keys.ed25519)
        .map_err(|_| bad("receipt_keys: not keys of their suite in lower-case hex"))
}

/// Checks both signatures of a boot's receipt keys.
fn by_boot(
    what: &'static str,
    keyset: &Keyset,
    domain: Domain,
    text: &[u8],
    signature: &BootSignature,
) -> Result<(), Reject> {
    let keys = receipt_keys(&keyset.receipt_keys)?;
    Signature::from_hex(&to_hex(&signature.ml_dsa), &to_hex(&signature.ed25519))
        .and_then(|signature| keys.verify(domain, text, &signature))
        .map_err(|_| Reject::Signature { what })
}
