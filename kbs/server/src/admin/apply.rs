//! The broker's side of an admin request.

use std::sync::Arc;

use hanzo_attestation::jcs;
use hanzo_attestation::name::Name;
use hanzo_pqc::sign::Signature;
use hanzo_pqc::{Domain, PqcError};
use hanzo_store::Tx;

use super::answer::{AdminReply, Answer};
use super::change::{Change, open_import};
use super::roles::{Admin, Right};
use super::{ADMIN_BYTES_MAX, ADMIN_PURPOSE, ADMIN_WINDOW_S, Action, AdminRequest, SignedRequest, kbs_digest};
use super::{AdminRefusal, Admins, proposals, read, vaults};
use crate::audit::{self, Line};
use crate::broker::{Broker, now};
use crate::coco::bearer;
use crate::head::Head;
use crate::health::{self, BrokerStatus};

/// Carries a signed request out; what it changes is on the disk when this returns.
pub(crate) fn apply(broker: &Arc<Broker>, body: &[u8]) -> Result<Answer, AdminRefusal> {
    let signed: SignedRequest = jcs::from_slice("admin request", body, ADMIN_BYTES_MAX)?;
    let request = &signed.request;
    let live = broker.lives.now();
    let admins = live.admins.as_ref();
    let admin = admins.get(&request.admin).ok_or(AdminRefusal::NotPinned)?;
    Signature::from_hex(&signed.signature.ml_dsa, &signed.signature.ed25519)
        .and_then(|signature| admin.keys.verify(Domain::Admin, &jcs_of(request)?, &signature))
        .map_err(AdminRefusal::Signature)?;
    let this_broker = kbs_digest(&broker.identity.public(broker.simulated()).import_key)?;
    if request.purpose != ADMIN_PURPOSE || request.kbs != this_broker {
        return Err(AdminRefusal::Elsewhere);
    }
    let now = now().0;
    if request.issued_at.abs_diff(now) > ADMIN_WINDOW_S {
        return Err(AdminRefusal::Stale {
            issued_at: request.issued_at,
            now,
        });
    }
    let scene = Scene {
        broker,
        admins: &admins,
        admin,
        request,
        now,
        // It tries the store, which no transaction can from within.
        status: matches!(request.action, Action::Status {}).then(|| health::look(broker)),
    };
    let outcome = broker.db.write(|tx| {
        take_nonce(tx, request)?;
        scene.act(tx)
    });
    match outcome {
        Ok((answer, head, line)) => {
            broker.record(head, &line)?;
            if let Some((id, tenant)) = answer.rotation() {
                broker.rotations.start(broker, id, tenant);
            }
            Ok(answer)
        }
        Err(refusal) => {
            if refusal.is_decision() {
                scene.record_refusal(&refusal)?;
            }
            Err(refusal)
        }
    }
}

fn jcs_of(request: &AdminRequest) -> Result<Vec<u8>, PqcError> {
    jcs::to_vec("admin request", request).map_err(|_| PqcError::Backend { what: "canonical JSON" })
}

/// Nonces are kept for ever: a clock that steps back makes no old request new.
fn take_nonce(tx: &Tx<'_>, request: &AdminRequest) -> Result<(), AdminRefusal> {
    let taken = tx.execute(
        "INSERT INTO admin_nonces (nonce, issued_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        &[request.nonce.as_bytes().into(), (request.issued_at as i64).into()],
    )?;
    match taken {
        1 => Ok(()),
        _ => Err(AdminRefusal::Replayed),
    }
}

/// One authentic request.
struct Scene<'a> {
    broker: &'a Broker,
    admins: &'a Admins,
    admin: &'a Admin,
    request: &'a AdminRequest,
    now: u64,
    status: Option<BrokerStatus>,
}

type Acted = (Answer, Head, String);

impl Scene<'_> {
    /// Decides and carries out, with the line of the audit chain in the same transaction.
    fn act(&self, tx: &Tx<'_>) -> Result<Acted, AdminRefusal> {
        let action = &self.request.action;
        let answer = match action {
            Action::PutKey { .. } => return self.change(tx, Right::PutKey),
            Action::SetPolicy { .. } | Action::SetDocument { .. } => return self.change(tx, Right::SetPolicy),
            Action::Revoke { .. } => return self.change(tx, Right::Revoke),
            Action::RotateKek { .. }
            | Action::ShredTenant { .. }
            | Action::ShredKey { .. }
            | Action::AcceptStoreHead { .. } => return self.vault(tx),
            Action::Approve { proposal } => return self.approve(tx, proposal),
            Action::Status {} => {
                self.must_somewhere(Right::ReadKeys)?;
                let status = self.status.clone().ok_or(AdminRefusal::Elsewhere)?;
                Answer::Status(Box::new(status))
            }
            Action::ListKeys {} => {
                self.must_somewhere(Right::ReadKeys)?;
                Answer::Keys(read::keys(tx, self.admins, self.admin)?)
            }
            Action::GetPolicy { key_id } => {
                must(self.admin, Right::ReadKeys, action, key_id.repository())?;
                Answer::Policy(Box::new(read::policy(tx, key_id)?))
            }
            Action::Pending {} => {
                self.must_somewhere(Right::ReadKeys)?;
                Answer::Pending(read::pending(self.broker, tx, (self.admins, self.admin), self.now)?)
            }
            Action::AuditRead { after } => {
                self.must_somewhere(Right::ReadAudit)?;
                Answer::Audit(read::audit(tx, *after)?)
            }
        };
        let (head, text) = audit::append(tx, self.line(action.name()))?;
        Ok((answer, head, text))
    }

    /// Carries a change out, or keeps it until a second admin approves it.
    fn change(&self, tx: &Tx<'_>, right: Right) -> Result<Acted, AdminRefusal> {
        let request = self.request;
        let (key_id, key_version) = request.action.changes().ok_or(AdminRefusal::Elsewhere)?;
        must(self.admin, right, &request.action, key_id.repository())?;
        let change = Change::of(self.broker, tx, request)?;
        let mut line = self.line(request.action.name());
        (line.key_id, line.key_version) = (key_id.to_string(), key_version);
        line.policy = request.action.digest()?;
        let proposal = match change.widens(request)? {
            Some(base) if self.admins.four_eyes => {
                if let Action::PutKey {
                    ciphertext,
                    enc,
                    policy,
                    ..
                } = &request.action
                {
                    open_import(self.broker, request, (enc, ciphertext), policy)?;
                }
                let id = proposals::store(tx, request, &base, self.now)?;
                line.action = "propose".into();
                line.about = Some(id.to_string());
                Some(id)
            }
            _ => {
                change.carry_out(self.broker, tx, request)?;
                None
            }
        };
        let (head, text) = audit::append(tx, line)?;
        let mut reply = AdminReply::about((key_id.repository(), Some(key_id), key_version));
        reply.proposal = proposal;
        Ok((Answer::Done(reply), head, text))
    }

    /// Rotates, destroys or sets a store's head, or keeps that until a second admin approves it.
    fn vault(&self, tx: &Tx<'_>) -> Result<Acted, AdminRefusal> {
        let request = self.request;
        let subject = request.action.subject().ok_or(AdminRefusal::Elsewhere)?;
        must(self.admin, Right::Vault, &request.action, subject.0)?;
        let extent = vaults::look(self.broker, tx, &request.action)?;
        let (reply, mut line) = match self.admins.four_eyes {
            true => {
                let id = proposals::store(tx, request, &extent.base, self.now)?;
                let mut reply = AdminReply::about(subject);
                reply.proposal = Some(id);
                let mut line = self.line("propose");
                line.about = Some(id.to_string());
                line.key_id = subject.1.map_or(subject.0.to_string(), |key| key.to_string());
                line.key_version = subject.2;
                (reply, line)
            }
            false => vaults::carry_out(tx, &request.action, (request.admin, request.nonce, self.now))?,
        };
        line.nonce = Some(request.nonce);
        let (head, text) = audit::append(tx, line)?;
        Ok((Answer::Done(reply), head, text))
    }

    /// Carries out what another admin proposed: two lines, the approval and the change, each with whose it is.
    fn approve(&self, tx: &Tx<'_>, id: &hanzo_attestation::Digest384) -> Result<Acted, AdminRefusal> {
        self.must_somewhere(Right::Approve)?;
        let proposal = proposals::take(tx, id, self.now)?;
        let proposed = &proposal.request;
        let subject = proposed.action.subject().ok_or(AdminRefusal::NoProposal)?;
        let (tenant, key_id, key_version) = subject;
        must(self.admin, Right::Approve, &self.request.action, tenant)?;
        if self.admin.digest == proposed.admin {
            return Err(AdminRefusal::SameAdmin);
        }
        let right = match proposed.action {
            Action::PutKey { .. } => Right::PutKey,
            Action::SetPolicy { .. } | Action::SetDocument { .. } => Right::SetPolicy,
            _ => Right::Vault,
        };
        let may = match (self.admins.get(&proposed.admin), &proposed.action) {
            (Some(proposer), _) => proposer.may(right, tenant),
            // Documents are proposed through CoCo's routes too, by keys that the configuration pins for those.
            (None, Action::SetDocument { .. }) => bearer::may_still(&self.broker.coco.admins, &proposed.admin, tenant),
            (None, _) => false,
        };
        if !may {
            return Err(AdminRefusal::ProposerGone);
        }
        let mut approval = self.line("approve");
        approval.about = Some(id.to_string());
        approval.key_id = key_id.map_or(tenant.to_string(), |key| key.to_string());
        approval.key_version = key_version;
        if right == Right::Vault {
            if vaults::look(self.broker, tx, &proposed.action)?.base != proposal.base {
                return Err(AdminRefusal::ProposalOutdated);
            }
            audit::append(tx, approval)?;
            let by = (proposed.admin, self.request.nonce, self.now);
            let (reply, line) = vaults::carry_out(tx, &proposed.action, by)?;
            let (head, text) = audit::append(tx, line)?;
            return Ok((Answer::Done(reply), head, text));
        }
        let change = Change::of(self.broker, tx, proposed).map_err(|e| match e {
            AdminRefusal::Version { .. } => AdminRefusal::ProposalOutdated,
            other => other,
        })?;
        if !change.is_from(&proposal.base)? {
            return Err(AdminRefusal::ProposalOutdated);
        }
        change.carry_out(self.broker, tx, proposed)?;
        let mut line = Line::of(proposed.action.name(), proposed.admin, self.now);
        line.about = Some(format!("proposal {id}"));
        (line.key_id, line.key_version) = (approval.key_id.clone(), key_version);
        line.policy = proposed.action.digest()?;
        audit::append(tx, approval)?;
        let (head, text) = audit::append(tx, line)?;
        Ok((Answer::Done(AdminReply::about(subject)), head, text))
    }

    fn line(&self, action: &str) -> Line {
        let mut line = Line::of(action, self.request.admin, self.now);
        line.nonce = Some(self.request.nonce);
        line
    }

    fn must_somewhere(&self, right: Right) -> Result<(), AdminRefusal> {
        match self.admin.may_somewhere(right) {
            true => Ok(()),
            false => Err(AdminRefusal::NotAllowed {
                admin: self.admin.name.to_string(),
                action: self.request.action.name(),
                tenant: "any".into(),
            }),
        }
    }

    /// A refused request has its line and is used up as well. Without room for the line, the request stays refused.
    fn record_refusal(&self, refusal: &AdminRefusal) -> Result<(), AdminRefusal> {
        let recorded = self.broker.db.write(|tx| {
            take_nonce(tx, self.request)?;
            let mut line = self.line("refuse-admin");
            line.code = refusal.code().to_owned();
            line.failed = vec![refusal.code().to_owned()];
            line.about = Some(self.request.action.name().to_owned());
            if let Some((tenant, key_id, version)) = self.request.action.subject() {
                line.key_id = key_id.map_or(tenant.to_string(), |key| key.to_string());
                line.key_version = version;
            }
            Ok::<_, AdminRefusal>(audit::append(tx, line)?)
        });
        match recorded {
            Ok((head, line)) => Ok(self.broker.record(head, &line)?),
            // The same request came twice at once: the other one has the line.
            Err(AdminRefusal::Replayed) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn must(admin: &Admin, right: Right, action: &Action, tenant: &Name) -> Result<(), AdminRefusal> {
    match admin.may(right, tenant) {
        true => Ok(()),
        false => Err(AdminRefusal::NotAllowed {
            admin: admin.name.to_string(),
            action: action.name(),
            tenant: tenant.to_string(),
        }),
    }
}
