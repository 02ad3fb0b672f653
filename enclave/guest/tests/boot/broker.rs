//! A key broker for tests: speaks RCAR, decides nothing, signs what it is told to. The guest must tell good from bad.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest384, Nonce, jcs};
use hanzo_kbs_protocol::heads::{HeadAction, HeadRequest, HeadState, LeaseKey, LeaseReply, StoreHead};
use hanzo_kbs_protocol::{AttestBody, GRANT_PURPOSE, Grant, WrappedDek, auth_request, challenge_body, wrap_info};
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_pqc::{Domain, hpke};

/// What the broker does with a request for a key.
#[derive(Clone)]
pub enum Mood {
    Honest,
    /// Signs with keys of its own instead of the pinned ones, over a key that it knows.
    Foreign,
    /// Answers with what it answered to an earlier boot.
    Replay(HashMap<String, Vec<u8>>),
    /// Grants less than tier 2.
    Tier(u8),
    /// Says that the key is for something else.
    Subject(Name),
    /// Says no.
    Refuse,
    /// Its clock and this machine's differ by so many seconds.
    Clock(i64),
    /// Its signed time lies this far from now at the second grant.
    SecondGrantLate(u64),
}

pub struct Key {
    pub dek: [u8; 32],
    pub version: u64,
    pub subject: Name,
}

pub struct Inner {
    pub keys: HashMap<String, Key>,
    pub mood: Mood,
    /// Every reply by key id.
    pub replies: HashMap<String, Vec<u8>>,
    /// By store.
    pub heads: HashMap<String, Fenced>,
    /// What it says to every question about heads instead of an answer.
    pub heads_say: Option<(StatusCode, &'static str)>,
    sessions: HashMap<String, Session>,
}

/// A store's head, and who may move it.
pub struct Fenced {
    pub head: StoreHead,
    pub token: u64,
    writer: Digest384,
    until: Instant,
}

struct Session {
    nonce: Nonce,
    attested: Option<AttestBody>,
}

#[derive(Clone)]
pub struct Broker {
    pub inner: Arc<Mutex<Inner>>,
    signer: Arc<SigningKeys>,
    foreign: Arc<SigningKeys>,
}

impl Broker {
    pub fn new(keys: HashMap<String, Key>) -> Self {
        let signer = |byte| Arc::new(SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[byte; 64]).unwrap());
        Self {
            inner: Arc::new(Mutex::new(Inner {
                keys,
                mood: Mood::Honest,
                replies: HashMap::new(),
                heads: HashMap::new(),
                heads_say: None,
                sessions: HashMap::new(),
            })),
            signer: signer(1),
            foreign: signer(2),
        }
    }

    pub fn set(&self, mood: Mood) {
        let mut inner = self.inner.lock().unwrap();
        inner.mood = mood;
        inner.replies.clear();
    }

    pub fn pinned(&self) -> PinnedSigner {
        let keys = self.signer.verifying_keys();
        PinnedSigner {
            suite: "ml-dsa-65".into(),
            ml_dsa: keys.ml_dsa_hex(),
            ed25519: keys.ed25519_hex(),
        }
    }

    pub async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/kbs/v0/auth", post(auth))
            .route("/kbs/v0/attest", post(attest))
            .route("/kbs/v0/resource/{*key}", get(resource))
            .route("/hanzo/v1/heads/{*store}", post(heads))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        addr
    }

    fn wrap(&self, key_id: &str, session: &Session) -> Option<Vec<u8>> {
        let inner = self.inner.lock().unwrap();
        let key = inner.keys.get(key_id)?;
        let attested = session.attested.as_ref()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut grant = Grant {
            key_id: KeyId::new(key_id).ok()?,
            key_version: key.version,
            kbs_time: now,
            nonce: session.nonce,
            not_after: now + 60,
            policy_digest: Digest384([0; 48]),
            purpose: GRANT_PURPOSE.into(),
            recipient: attested.wrap_key.recipient(),
            simulated: true,
            subject: key.subject.clone(),
            tier: 2,
        };
        let mut signer = &self.signer;
        match &inner.mood {
            Mood::Foreign => signer = &self.foreign,
            Mood::Tier(tier) => grant.tier = *tier,
            Mood::Subject(subject) => grant.subject = subject.clone(),
            Mood::SecondGrantLate(s) if !inner.replies.is_empty() => {
                grant.kbs_time += s;
                grant.not_after += s;
            }
            Mood::Clock(by) => {
                grant.kbs_time = grant.kbs_time.checked_add_signed(*by)?;
                grant.not_after = grant.not_after.checked_add_signed(*by)?;
            }
            _ => (),
        }
        let public = attested.wrap_key.hpke()?;
        let info = wrap_info(public.suite(), &grant);
        let sealed = hpke::seal(public, &info, grant.digest().ok()?.as_bytes(), &key.dek).ok()?;
        let mut wrapped = WrappedDek {
            among: None,
            ciphertext: hex::encode(sealed.ciphertext),
            enc: hex::encode(sealed.enc),
            grant,
            signature: SignaturePair {
                ed25519: String::new(),
                ml_dsa: String::new(),
            },
            suite: public.suite().name().into(),
        };
        let signature = signer.sign(Domain::Grant, &wrapped.signed_bytes().ok()?).ok()?;
        wrapped.signature = SignaturePair {
            ed25519: signature.ed25519_hex(),
            ml_dsa: signature.ml_dsa_hex(),
        };
        wrapped.canonical().ok()
    }
}

async fn auth(State(broker): State<Broker>, body: Bytes) -> Response {
    if auth_request(&body).is_err() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut nonce = Nonce([0; 32]);
    hanzo_pqc::random::fill(&mut nonce.0).unwrap();
    let session = Session { nonce, attested: None };
    broker.inner.lock().unwrap().sessions.insert(nonce.to_string(), session);
    let cookie = format!("kbs-session-id={nonce}; HttpOnly; SameSite=Strict; Path=/");
    ([("set-cookie", cookie)], challenge_body(&nonce).to_string()).into_response()
}

fn session_of(headers: &HeaderMap) -> String {
    let cookie = headers.get("cookie").and_then(|c| c.to_str().ok()).unwrap_or_default();
    cookie.trim_start_matches("kbs-session-id=").to_owned()
}

async fn attest(State(broker): State<Broker>, headers: HeaderMap, body: Bytes) -> Response {
    let attested = AttestBody::parse(&body).unwrap();
    let mut inner = broker.inner.lock().unwrap();
    match inner.sessions.get_mut(&session_of(&headers)) {
        Some(session) => {
            session.attested = Some(attested);
            "{}".into_response()
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn resource(State(broker): State<Broker>, Path(key): Path<String>, headers: HeaderMap) -> Response {
    let session = broker.inner.lock().unwrap().sessions.remove(&session_of(&headers));
    let Some(session) = session else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let mood = broker.inner.lock().unwrap().mood.clone();
    let reply = match mood {
        Mood::Replay(replies) => replies.get(&key).cloned(),
        Mood::Refuse => {
            let body =
                r#"{"type":"https://example.org/errors/PolicyDeny","detail":"snp.debug: the guest is debuggable"}"#;
            return (StatusCode::FORBIDDEN, body).into_response();
        }
        _ => broker.wrap(&key, &session),
    };
    match reply {
        Some(reply) => {
            broker.inner.lock().unwrap().replies.insert(key, reply.clone());
            reply.into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

const LEASE_SECRET: &[u8] = b"the test broker's own";

/// As `hanzo-kbs` does it: one writer, and a head that only moves forward from where it is.
async fn heads(State(broker): State<Broker>, Path(store): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let mut inner = broker.inner.lock().unwrap();
    let no = |status: StatusCode, code: &str| {
        let body = serde_json::json!({"code": code, "detail": code, "type": "https://example.org/errors/Head"});
        (status, body.to_string()).into_response()
    };
    if let Some((status, code)) = inner.heads_say {
        return no(status, code);
    }
    let request = HeadRequest::parse(&body).unwrap();
    assert_eq!(request.ask.store.to_string(), store);
    let now = Instant::now();
    let state = |fenced: &Fenced| HeadState {
        head: fenced.head,
        lease_s: fenced.until.saturating_duration_since(now).as_secs_f64().round() as u64,
        nonce: request.ask.nonce,
        store: request.ask.store.clone(),
        token: fenced.token,
    };
    let later = |lease_s: u64| now + Duration::from_secs(lease_s);
    if let HeadAction::Acquire { lease_s } = request.ask.action {
        let session = inner.sessions.remove(&session_of(&headers)).unwrap();
        let writer = session.attested.unwrap().wrap_key;
        let held = |f: &Fenced| f.until > now && f.writer != writer.recipient();
        if inner.heads.get(&store).is_some_and(held) {
            return no(StatusCode::CONFLICT, "kbs.head.held");
        }
        let was = inner.heads.remove(&store);
        let fenced = Fenced {
            head: was.as_ref().map_or(StoreHead::empty(), |f| f.head),
            token: was.map_or(0, |f| f.token) + 1,
            writer: writer.recipient(),
            until: later(lease_s),
        };
        let key = LeaseKey::derive(LEASE_SECRET, &request.ask.store, fenced.token, &fenced.writer).unwrap();
        let reply = LeaseReply::seal(state(&fenced), &key, writer.hpke().unwrap(), &broker.signer).unwrap();
        inner.heads.insert(store, fenced);
        return jcs::to_vec("lease", &reply).unwrap().into_response();
    }
    let Some(fenced) = inner.heads.get_mut(&store) else {
        return no(StatusCode::CONFLICT, "kbs.head.token");
    };
    let key = LeaseKey::derive(LEASE_SECRET, &request.ask.store, fenced.token, &fenced.writer).unwrap();
    if key.check_request(&request).is_err() {
        return no(StatusCode::CONFLICT, "kbs.head.token");
    }
    if fenced.until <= now {
        return no(StatusCode::CONFLICT, "kbs.head.lease_over");
    }
    match request.ask.action {
        HeadAction::Advance { lease_s, new, old, .. } => {
            if fenced.head != old && fenced.head != new {
                return no(StatusCode::CONFLICT, "kbs.head.conflict");
            }
            assert!(new.size > old.size);
            (fenced.head, fenced.until) = (new, later(lease_s));
        }
        HeadAction::Renew { lease_s, .. } => fenced.until = later(lease_s),
        HeadAction::Release { .. } => fenced.until = now,
        HeadAction::Acquire { .. } => unreachable!(),
    }
    let reply = key.reply(state(fenced)).unwrap();
    jcs::to_vec("head", &reply).unwrap().into_response()
}
