//! Who may ask, and how much (`enclave/inference/ACCESS.md`).
//!
//! Where the configuration says `auth = "none"`, whoever reaches the guest may ask. Otherwise a request shows an API key or a token
//! of an identity provider, or is signed, and the table of callers, signed by the one key that the configuration pins, says whose it is.
//! Without a table in force nobody is let in. A key that is unknown, mistyped, removed from the table or expired gets one answer
//! for all of it.

mod account;
mod asking;
mod bucket;
mod credential;
mod nonces;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use hanzo_attestation::config;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_receipts::{Accounts, Usage};
use hanzo_verifier::callers::{
    Caller, Claim, Claims, Credential, Issuer, RequestError, RequestKeys, Role, SignedTable, TokenError, VerifiedTable,
    verify_token,
};

use crate::callers::{Callers, Present};
use crate::error::ApiError;
use crate::narrowed::Narrowed;
use crate::state::Serving;
use crate::supply::EngineClass;
use account::{Account, Admitted, Known};
pub(crate) use asking::{Asking, Promise};
use credential::Shown;
use nonces::Nonces;

/// How long the guest has been up, by a clock that never runs back. Limits per minute are counted by it.
pub type Uptime = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Who may ask.
pub enum AccessOptions {
    /// Whoever reaches the guest.
    Anybody,
    /// Callers of a signed table.
    Callers {
        /// Who signs it. Without anybody no table counts, and nobody is let in.
        access: Option<config::Access>,
        /// Whose guests it is for.
        operator: Name,
        /// Where it and its callers' usage are kept.
        accounts: Accounts,
    },
}

/// Lets callers in.
pub(crate) enum Access {
    Anybody(Arc<Callers>),
    Callers(Box<Gate>),
}

/// Callers of a signed table.
pub(crate) struct Gate {
    access: Option<config::Access>,
    operator: Name,
    accounts: Accounts,
    uptime: Uptime,
    narrowed: RwLock<Narrowed>,
    book: RwLock<Book>,
    nonces: Nonces,
    /// Tables are taken one after the other.
    taking: Mutex<()>,
}

/// The table in force.
#[derive(Default)]
struct Book {
    version: u64,
    not_after: u64,
    /// As it was signed.
    table: Option<Arc<VerifiedTable>>,
    callers: HashMap<Digest384, Arc<Known>>,
    issuers: Arc<Vec<Issuer>>,
    by_claim: Vec<(Claim, Arc<Known>)>,
    by_keys: HashMap<Name, (Arc<RequestKeys>, Arc<Known>)>,
    accounts: HashMap<Name, Arc<Account>>,
}

impl Book {
    /// The one caller that a token fits.
    fn known_by(&self, claims: &Claims) -> Result<Arc<Known>, TokenError> {
        let mut fits = self.by_claim.iter().filter(|(claim, _)| claims.say(claim));
        let (_, known) = fits.next().ok_or(TokenError::Nobody)?;
        match fits.next() {
            None => Ok(known.clone()),
            Some(_) => Err(TokenError::Several),
        }
    }

    fn in_force(&self, now: UnixTime) -> Result<&Self, ApiError> {
        match self.version == 0 || now.0 > self.not_after {
            true => Err(ApiError::NoCallers),
            false => Ok(self),
        }
    }
}

/// One request's part of what its caller may have.
pub(crate) enum Share {
    /// Of somebody known by a secret of its own, or of nobody.
    Anybody(Present),
    /// Of a caller with an account.
    Account(Admitted),
}

/// Who waits in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Tenant {
    /// By a hash under a key of this boot.
    Anybody(u64),
    /// Everybody who gave no secret.
    Nobody,
    Account(Name),
}

impl Access {
    /// Opens the table that the store kept, if it still counts.
    pub(crate) fn open(
        options: AccessOptions,
        concurrent_requests: u32,
        now: UnixTime,
        uptime: Uptime,
        narrowed: Narrowed,
    ) -> Result<Self, &'static str> {
        let (access, operator, accounts) = match options {
            AccessOptions::Anybody => return Ok(Self::Anybody(Callers::new(concurrent_requests))),
            AccessOptions::Callers {
                access,
                operator,
                accounts,
            } => (access, operator, accounts),
        };
        let gate = Gate {
            access,
            operator,
            accounts,
            uptime,
            narrowed: RwLock::new(narrowed),
            book: RwLock::default(),
            nonces: Nonces::default(),
            taking: Mutex::default(),
        };
        if let Some(kept) = gate.accounts.kept_callers().map_err(|e| e.code())? {
            match gate.verified(&kept, now) {
                Ok(table) => gate.put_in_force(&Arc::new(table))?,
                Err(e) => tracing::warn!(code = e.code(), "the kept table of callers does not count: {e}"),
            }
        }
        Ok(Self::Callers(Box::new(gate)))
    }

    /// Who asks, by a request's head, and what its body has to be; counts nothing but signatures. `tier` and `keyset` are the
    /// guest's.
    pub(crate) fn identify(
        &self,
        asking: &Asking,
        tier: u8,
        keyset: &Digest384,
        now: UnixTime,
    ) -> Result<(Who, Promise), ApiError> {
        let Self::Callers(gate) = self else {
            return Ok((Who::Anybody, Promise::default()));
        };
        let (known, promise) = gate.known(asking, keyset, now)?;
        match known.caller.tier_min > tier {
            true => Err(ApiError::TierScope {
                least: known.caller.tier_min,
                got: tier,
            }),
            false => Ok((Who::Known(known), promise)),
        }
    }

    /// The bytes of the one key or token that a request shows, where callers have to show one; `None` for signed requests, whose signature
    /// says whose they are. Whether it counts is for [`Self::identify`].
    pub(crate) fn credential<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let is_signed = ["signature", "signature-input"]
            .iter()
            .any(|name| headers.contains_key(*name));
        match self {
            Self::Callers(_) if !is_signed => credential::all(headers).next(),
            _ => None,
        }
    }

    /// Counts a request of `who`, and says where to look for what its caller is told.
    pub(crate) fn enter(&self, who: Who, owner: Option<&HeaderValue>) -> (Told, Result<Share, ApiError>) {
        match (self, who) {
            (_, Who::Known(known)) => {
                let share = Admitted::new(known.clone()).map(Share::Account);
                (Told::Known(known), share)
            }
            (Self::Anybody(callers), Who::Anybody) => {
                let present = callers.enter(owner);
                (Told::Now(present.headers()), Ok(Share::Anybody(present)))
            }
            // Nobody is made by this guest's gate; there is no key to name.
            (Self::Callers(_), Who::Anybody) => (Told::Now(HeaderMap::new()), Err(ApiError::Key)),
        }
    }

    /// Whether callers are told apart at all.
    pub(crate) const fn knows_callers(&self) -> bool {
        matches!(self, Self::Callers(_))
    }

    /// Holds to what administrators narrowed, the table in force included. Blocks on the disk.
    pub(crate) fn narrow(&self, narrowed: Narrowed) -> Result<(), ApiError> {
        let Self::Callers(gate) = self else { return Ok(()) };
        let _one = gate.taking.lock().unwrap_or_else(PoisonError::into_inner);
        *gate.narrowed.write().unwrap_or_else(PoisonError::into_inner) = narrowed;
        let table = gate.book().table.clone();
        let again = table.map_or(Ok(()), |table| gate.put_in_force(&table));
        again.map_err(|code| {
            // Rather nobody than somebody who was revoked.
            *gate.book.write().unwrap_or_else(PoisonError::into_inner) = Book::default();
            ApiError::Receipt { code }
        })
    }

    /// Takes a signed table in place of the one in force. Blocks on the disk.
    pub(crate) fn take(&self, document: &[u8], now: UnixTime) -> Result<u64, ApiError> {
        let Self::Callers(gate) = self else {
            return Err(ApiError::NotFound(
                "this guest's configuration asks nobody who they are",
            ));
        };
        gate.take(document, now)
    }

    /// What a caller used, and if it is an administrator what all did. Blocks on the disk.
    pub(crate) fn usage(&self, who: &Who) -> Result<Vec<(Name, Usage)>, ApiError> {
        let (Self::Callers(gate), Who::Known(known)) = (self, who) else {
            return Err(ApiError::NotFound(
                "this guest's configuration asks nobody who they are",
            ));
        };
        let all = gate
            .accounts
            .usage()
            .map_err(|e| ApiError::Receipt { code: e.code() })?;
        if known.caller.role == Role::Admin {
            return Ok(all);
        }
        let mut own: Vec<_> = all.into_iter().filter(|(name, _)| *name == known.caller.id).collect();
        if own.is_empty() {
            own.push((known.caller.id.clone(), Usage::default()));
        }
        Ok(own)
    }
}

/// Who asks.
pub(crate) enum Who {
    Anybody,
    Known(Arc<Known>),
}

impl Who {
    /// Whether a model is among those it may ask: others do not exist for it.
    pub(crate) fn sees(&self, serving: &Serving) -> bool {
        match self {
            Self::Anybody => is_for(None, serving),
            Self::Known(known) => is_for(Some(&known.caller), serving),
        }
    }
}

/// What a caller is told of its share.
pub(crate) enum Told {
    Now(HeaderMap),
    /// When its answer begins.
    Known(Arc<Known>),
}

impl Told {
    pub(crate) fn headers(&self) -> HeaderMap {
        match self {
            Self::Now(headers) => headers.clone(),
            Self::Known(known) => known.headers(),
        }
    }
}

impl Gate {
    fn verified(&self, document: &[u8], now: UnixTime) -> Result<VerifiedTable, ApiError> {
        let access = self.access.as_ref().ok_or(ApiError::NoCallers)?;
        let signed = SignedTable::parse(document).map_err(ApiError::Callers)?;
        let verified = signed.verify(&access.table_signer, &self.operator, now);
        let verified = verified.map_err(ApiError::Callers)?;
        let got = verified.table().version;
        match got < access.table_version_min {
            true => Err(ApiError::CallersVersion { got }),
            false => Ok(verified),
        }
    }

    fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signatures are checked without the book's lock.
    fn known(&self, asking: &Asking, keyset: &Digest384, now: UnixTime) -> Result<(Arc<Known>, Promise), ApiError> {
        if let Some(signature) = asking.signature().map_err(ApiError::Signed)? {
            let line = asking.line().map_err(ApiError::Signed)?;
            if line.keyset != keyset.to_string() {
                return Err(ApiError::Signed(RequestError::Keyset));
            }
            nonces::in_time(signature.created(), now).map_err(ApiError::Signed)?;
            let found = Name::new(signature.keyid()).ok().and_then(|id| {
                let book = self.book();
                let book = book.in_force(now).ok()?;
                book.by_keys.get(&id).cloned()
            });
            self.book().in_force(now)?;
            // Whatever is wrong with keyid, keys or signatures, the answer is the same.
            let found = found.filter(|(keys, known)| known.counts(now) && signature.verify(keys, &line).is_ok());
            let (_, known) = found.ok_or(ApiError::Signed(RequestError::Nobody))?;
            self.nonces
                .take(&known.caller.id, signature.created(), signature.nonce(), now)?;
            return Ok((known, Asking::promise(&line)));
        }
        let known = match credential::shown(&asking.headers)? {
            Shown::Key(hash) => {
                let known = self.book().in_force(now)?.callers.get(&hash).cloned();
                known.filter(|known| known.counts(now)).ok_or(ApiError::Key)?
            }
            Shown::Token(token) => {
                let issuers = self.book().in_force(now)?.issuers.clone();
                let claims = verify_token(&issuers, token, now).map_err(ApiError::Token)?;
                let known = self.book().in_force(now)?.known_by(&claims).map_err(ApiError::Token)?;
                match known.counts(now) {
                    true => known,
                    false => return Err(ApiError::Token(TokenError::Nobody)),
                }
            }
        };
        Ok((known, Promise::default()))
    }

    fn take(&self, document: &[u8], now: UnixTime) -> Result<u64, ApiError> {
        let _one: MutexGuard<'_, ()> = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let table = Arc::new(self.verified(document, now)?);
        let version = table.table().version;
        let kept = self.accounts.keep_callers(version, document);
        if !kept.map_err(|e| ApiError::Receipt { code: e.code() })? {
            return Err(ApiError::CallersVersion { got: version });
        }
        self.put_in_force(&table).map_err(|code| ApiError::Receipt { code })?;
        tracing::info!(version, callers = table.table().callers.len(), "table of callers taken");
        Ok(version)
    }

    /// Accounts that are known already stay as they are, but for their limits.
    fn put_in_force(&self, verified: &Arc<VerifiedTable>) -> Result<(), &'static str> {
        let table = verified.table();
        let narrowed = self.narrowed.read().unwrap_or_else(PoisonError::into_inner).clone();
        let used: HashMap<Name, Usage> = self.accounts.usage().map_err(|e| e.code())?.into_iter().collect();
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let mut callers = HashMap::with_capacity(table.callers.len());
        let (mut by_claim, mut by_keys) = (Vec::new(), HashMap::new());
        for caller in table.callers.iter().filter_map(|caller| narrowed.left(caller)) {
            let caller = &caller;
            let account = match book.accounts.entry(caller.id.clone()) {
                Entry::Occupied(known) => {
                    known.get().set_limits(caller);
                    known.get().clone()
                }
                Entry::Vacant(new) => {
                    let used = used.get(&caller.id).map_or(0, Usage::tokens);
                    new.insert(Arc::new(Account::new(caller, used, self.uptime.clone())))
                        .clone()
                }
            };
            let known = Arc::new(Known {
                caller: caller.clone(),
                account,
            });
            match &caller.credential {
                Credential::ApiKey(hash) => drop(callers.insert(*hash, known)),
                Credential::Claim(claim) => by_claim.push((claim.clone(), known)),
                Credential::RequestKeys(keys) => {
                    by_keys.insert(caller.id.clone(), (Arc::new(keys.clone()), known));
                }
            }
        }
        (book.callers, book.by_claim, book.by_keys) = (callers, by_claim, by_keys);
        book.issuers = Arc::new(table.issuers.clone());
        book.table = Some(verified.clone());
        book.version = table.version;
        book.not_after = table.not_after;
        Ok(())
    }
}

/// Configuration and table together; of nobody's key, `None`.
fn is_for(caller: Option<&Caller>, serving: &Serving) -> bool {
    let of_table = caller.is_none_or(|caller| caller.models.allow(serving.model.name.as_str()));
    of_table & serving.is_for(caller.map(|caller| &caller.id))
}

impl Share {
    /// As [`Who::sees`].
    pub(crate) fn sees(&self, serving: &Serving) -> bool {
        match self {
            Self::Anybody(_) => is_for(None, serving),
            Self::Account(admitted) => is_for(Some(admitted.caller()), serving),
        }
    }

    /// Who waits.
    pub(crate) fn tenant(&self) -> Tenant {
        match self {
            Self::Anybody(present) => present.who().map_or(Tenant::Nobody, Tenant::Anybody),
            Self::Account(admitted) => Tenant::Account(admitted.id().clone()),
        }
    }

    /// Requests at a time.
    pub(crate) fn concurrent(&self) -> u32 {
        match self {
            Self::Anybody(_) => u32::MAX,
            Self::Account(admitted) => admitted.caller().concurrent_requests,
        }
    }

    /// With whom its engine is shared.
    pub(crate) fn class(&self) -> EngineClass {
        match self {
            Self::Anybody(_) => EngineClass::Shared,
            Self::Account(admitted) => admitted.class(),
        }
    }

    /// Whose usage it is.
    pub(crate) fn account(&self) -> Option<&Name> {
        match self {
            Self::Anybody(_) => None,
            Self::Account(admitted) => Some(admitted.id()),
        }
    }

    /// Holds what the request may use, before the engine begins: see [`Admitted::hold`].
    pub(crate) fn hold(&mut self, prompt: u64, answers: u64, most: u64, is_given: bool) -> Result<u64, ApiError> {
        match self {
            Self::Anybody(_) => Ok(most),
            Self::Account(admitted) => admitted.hold(prompt, answers, most, is_given),
        }
    }

    /// Settles with a receipt that is durable.
    pub(crate) fn settle(self, prompt_tokens: u64, completion_tokens: u64) {
        if let Self::Account(admitted) = self {
            admitted.settle(prompt_tokens.saturating_add(completion_tokens));
        }
    }
}
