//! A serving guest without its channel: real store, real keys, real router.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hanzo_attestation::config::{Limits, Queue};
use hanzo_attestation::keyset::{KemKey, Keyset, ServedModel, SignerKeys};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_inference::{
    AccessOptions, AciServing, EngineClass, EngineEndpoint, EngineUse, OpenEngine, OpenError, ServingOptions,
    ServingState, Uptime, router,
};
use hanzo_pqc::Dek;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_receipts::{AciShelf, DisclosedReceipt, Fence, Origin, PublicLog, ReceiptLog, SCHEMA};
use hanzo_store::EncryptedDb;
use hanzo_verifier::receipt::{VerifiedReceipt, verify_signed};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::double::{Engine, Script};

pub const NOW: u64 = 1_800_000_100;

pub struct Guest {
    pub engine: Engine,
    pub log: Arc<ReceiptLog>,
    pub app: axum::Router,
    pub db: Arc<EncryptedDb>,
    /// Models whose engines were ended, in their order.
    pub unloaded: Arc<Mutex<Vec<String>>>,
    /// Its ACI view, if it has one.
    pub aci: Option<AciServing>,
    pub shelf: Arc<AciShelf>,
    /// For whom engines were started, in their order.
    pub opens: Opens,
    _dir: tempfile::TempDir,
}

/// Models and classes.
pub type Opens = Arc<Mutex<Vec<(String, EngineClass)>>>;

/// Opens everything at one socket; there is no room for the caller `large`, and what `slow` asks loads.
pub fn opened(socket: PathBuf, opens: Opens) -> OpenEngine {
    Arc::new(move |model, class| {
        opens.lock().unwrap().push((model.to_string(), class.clone()));
        let outcome = match class {
            EngineClass::Own(id) if id.as_str() == "large" => Err(OpenError::Room),
            EngineClass::Own(id) if id.as_str() == "slow" => Err(OpenError::Loading),
            EngineClass::Own(_) | EngineClass::Shared => Ok(EngineUse {
                socket: socket.clone(),
                hold: Box::new(()),
            }),
        };
        Box::pin(std::future::ready(outcome))
    })
}

pub fn limits() -> Limits {
    Limits {
        body_bytes_max: 4096,
        concurrent_requests: 2,
        request_timeout_s: 5,
    }
}

impl Guest {
    pub fn new(script: Script) -> Self {
        Self::with(script, limits())
    }

    pub fn with(script: Script, limits: Limits) -> Self {
        let uptime: Uptime = Arc::new(|| Duration::ZERO);
        Self::made(script, limits, None, |_| AccessOptions::Anybody, uptime)
    }

    /// One whose configuration says `aci = "on"`.
    pub fn with_aci(script: Script) -> Self {
        let uptime: Uptime = Arc::new(|| Duration::ZERO);
        Self::made_with(script, limits(), None, |_| AccessOptions::Anybody, uptime, true)
    }

    pub fn made(
        script: Script,
        limits: Limits,
        queue: Option<Queue>,
        access: impl FnOnce(&Arc<EncryptedDb>) -> AccessOptions,
        uptime: Uptime,
    ) -> Self {
        Self::made_with(script, limits, queue, access, uptime, false)
    }

    pub fn made_with(
        script: Script,
        limits: Limits,
        queue: Option<Queue>,
        access: impl FnOnce(&Arc<EncryptedDb>) -> AccessOptions,
        uptime: Uptime,
        aci: bool,
    ) -> Self {
        let engine = Engine::start(script);
        let dir = tempfile::tempdir().unwrap();
        let keys = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[1; 64]).unwrap();
        let key = Dek::from_slice(&[9; 32]).unwrap();
        let db = Arc::new(EncryptedDb::open(&dir.path().join("guest.db"), &key, SCHEMA).unwrap());
        let keyset = keyset(&keys);
        let origin = Origin::new("example/receipts").unwrap();
        let suite = SignatureSuite::MlDsa65Ed25519;
        let public = Arc::new(PublicLog::open(db.clone(), origin, suite, &[2; 64], Fence::None).unwrap());
        let log = Arc::new(ReceiptLog::open(public, keys, keyset).unwrap());
        let counter = AtomicU64::new(1);
        let opens = Arc::new(Mutex::new(Vec::new()));
        let unloaded = Arc::new(Mutex::new(Vec::new()));
        let ended = unloaded.clone();
        let shelf = Arc::new(AciShelf::default());
        let aci = aci.then(|| crate::aci::view(&log, &shelf));
        let state = ServingState::new(ServingOptions {
            receipts: log.clone(),
            aci: aci.clone(),
            engines: vec![EngineEndpoint {
                model: Name::new("smollm2").unwrap(),
                socket: engine.socket.clone(),
                context_tokens: 64,
                callers: None,
                on_demand: false,
            }],
            open: opened(engine.socket.clone(), opens.clone()),
            limits,
            queue,
            access: access(&db),
            administrators: vec![crate::orders::pinned()],
            operator: Name::new("example").unwrap(),
            order_engines: Arc::new(move |model, order| ended.lock().unwrap().push(crate::orders::told(model, order))),
            uptime,
            clock: Arc::new(|| UnixTime(NOW)),
            random: Arc::new(move |out| {
                let n = counter.fetch_add(1, Ordering::SeqCst).to_be_bytes();
                out.iter_mut().zip(n.iter().cycle()).for_each(|(o, b)| *o = *b);
                true
            }),
        })
        .unwrap();
        Self {
            engine,
            log,
            app: router(state),
            db,
            unloaded,
            aci,
            shelf,
            opens,
            _dir: dir,
        }
    }

    /// What serves over the same log and engine with that view and by that clock.
    pub fn served_again(&self, aci: Option<AciServing>, now: impl Fn() -> u64 + Send + Sync + 'static) -> axum::Router {
        let state = ServingState::new(ServingOptions {
            receipts: self.log.clone(),
            aci,
            engines: vec![EngineEndpoint {
                model: Name::new("smollm2").unwrap(),
                socket: self.engine.socket.clone(),
                context_tokens: 64,
                callers: None,
                on_demand: false,
            }],
            open: opened(self.engine.socket.clone(), Arc::default()),
            limits: limits(),
            queue: None,
            access: AccessOptions::Anybody,
            administrators: vec![],
            operator: Name::new("example").unwrap(),
            order_engines: Arc::new(|_, _| {}),
            uptime: Arc::new(|| Duration::ZERO),
            clock: Arc::new(move || UnixTime(now())),
            random: Arc::new(|out| {
                out.fill(7);
                true
            }),
        });
        router(state.unwrap())
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    pub async fn ask(&self, body: &str) -> Response<Body> {
        self.send(post(body)).await
    }

    /// Whose guest signed requests are for.
    pub fn keyset_digest(&self) -> Digest384 {
        self.log.keyset_digest()
    }

    /// All receipts so far, verified and in order.
    pub fn receipts(&self) -> Vec<VerifiedReceipt> {
        let page = self.log.page(0, 100).unwrap();
        let all: Vec<_> = page
            .iter()
            .map(|r| verify_signed(r, self.log.keyset()).unwrap())
            .collect();
        assert!(all.windows(2).all(|w| w[1].follows(&w[0]).is_ok()));
        all
    }

    /// Waits until there are `n`.
    pub async fn receipts_when(&self, n: usize) -> Vec<VerifiedReceipt> {
        for _ in 0..400 {
            let all = self.receipts();
            if all.len() >= n {
                return all;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{} receipts, expected {n}", self.receipts().len());
    }
}

pub fn post(body: &str) -> Request<Body> {
    post_to("/v1/chat/completions", body)
}

pub fn post_to(path: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .header("hanzo-owner", "aa".repeat(32))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

pub fn chat(extra: &str) -> String {
    format!(r#"{{"model":"smollm2","messages":[{{"role":"user","content":"CANARY-PROMPT"}}]{extra}}}"#)
}

pub async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

pub async fn json(response: Response<Body>) -> serde_json::Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// Splits a stream at its receipt frame: committed bytes, receipt, what follows.
pub fn split(stream: &str) -> (&str, DisclosedReceipt, &str) {
    let at = stream.find(": hanzo-receipt ").expect("a receipt frame");
    let (committed, rest) = stream.split_at(at);
    let (frame, after) = rest.split_once("\n\n").unwrap();
    let receipt = frame.strip_prefix(": hanzo-receipt ").unwrap();
    (
        committed,
        DisclosedReceipt::from_bytes(receipt.as_bytes()).unwrap(),
        after,
    )
}

fn keyset(keys: &SigningKeys) -> Keyset {
    let public = keys.verifying_keys();
    Keyset {
        capability_digest: Digest384([1; 48]),
        channel_key: KemKey {
            public_key: "00".into(),
            suite: "x-wing".into(),
        },
        config_digest: Digest256([2; 32]),
        image: Name::new("0.1.0").unwrap(),
        issued_at: 1_800_000_000,
        models: vec![ServedModel {
            base_root: None,
            chat_template_sha256: Digest256([3; 32]),
            counted_by: None,
            name: Name::new("smollm2").unwrap(),
            tokenizer_sha256: Digest256([4; 32]),
            weights_root: Digest256([5; 32]),
        }],
        not_after: 1_800_003_600,
        ohttp_keys: vec![],
        policy_digest: Digest384([6; 48]),
        receipt_keys: SignerKeys {
            ed25519: public.ed25519_hex(),
            ml_dsa: public.ml_dsa_hex(),
            suite: public.suite().name().into(),
        },
        log: None,
        signer_keys: vec![],
        simulated: true,
        tier: 2,
        time: "host".into(),
        tls_spki_sha256: Digest256([7; 32]),
        version: 1,
    }
}
