//! A guest in miniature, with knobs that make it an impostor, and a network path whose far end can be exchanged.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hanzo_attestation::bundle::{Bundle, CpuEvidence};
use hanzo_attestation::channel::{ATTESTATION_PATH, PROOF_PATH, ProofRequest};
use hanzo_attestation::freshness::{window_nonce, window_path};
use hanzo_attestation::keyset::{Keyset, ServedModel, SignaturePair, SignerKeys, capability_digest};
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, Nonce, UnixTime, jcs};
use hanzo_channel::{ChannelKey, Exporter, TlsIdentity, server_config};
use hanzo_client::{AttestedClient, ClientConfig};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_pqc::Domain;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageKem, MessageKey};
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_sealed::config::{KeyConfig, Protocol};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor, simulated_measurement};
use hanzo_verifier::VerifierContext;
use hanzo_verifier::receipt::*;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// When this test program started: so that the binary, which has the machine's clock, can talk to these guests too.
pub fn now() -> u64 {
    static START: LazyLock<u64> = LazyLock::new(|| hanzo_client::system_clock()().0);
    *START
}

pub const CONFIG: &str = "version = 1\n";
pub const PROMPT: &str = "CANARY-PROMPT";
const IMAGE: Digest384 = Digest384([0x11; 48]);

static PROCESSOR: LazyLock<SimulatedProcessor> = LazyLock::new(SimulatedProcessor::for_tests);

/// What an impostor does otherwise.
#[derive(Clone, Default)]
pub struct Knobs {
    /// Serve these bytes as the bundle, whatever was asked.
    pub recorded_bundle: Option<Vec<u8>>,
    /// Serve bundles without the challenge.
    pub unchallenged: bool,
    /// Answer proofs with what the guest at this address answers to them.
    pub proofs_from: Option<SocketAddr>,
    /// Sign receipts over another response, or hand none out.
    pub receipts: ReceiptKnob,
    /// Wait for this after the first frame of a stream.
    pub pause: Option<Arc<Notify>>,
    /// Launch with the debug bit.
    pub debug: bool,
    /// Wait for this before answering a proof.
    pub proof_pause: Option<Arc<Notify>>,
    /// Send this before the receipt of a stream, or after it.
    pub before_receipt: &'static str,
    pub after_receipt: &'static str,
    /// Close the connection instead of answering a request that was read.
    pub hang_up: bool,
    /// Do not say how sealed answers are padded.
    pub ignores_padding: bool,
    /// Come out of another image than the healthy guest's.
    pub image: Option<Digest384>,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub enum ReceiptKnob {
    #[default]
    Honest,
    OtherResponse,
    OtherRequest,
    OtherKeys,
    None,
}

pub struct Guest {
    pub knobs: Knobs,
    pub keyset: Keyset,
    tls: TlsIdentity,
    channel: ChannelKey,
    receipt_keys: SigningKeys,
    pub message_key: MessageKey,
    pub message_config: KeyConfig,
    /// Every byte of every request besides attestation and proof.
    pub heard: Mutex<Vec<u8>>,
    pub attestations: AtomicUsize,
    pub proofs: AtomicUsize,
    last_receipt: Mutex<Option<Vec<u8>>>,
}

impl Guest {
    /// A boot whose keys all come from `seed`.
    pub fn boot(seed: u8) -> Arc<Self> {
        Arc::new(Self::with(seed, seed, Knobs::default()))
    }

    /// `tls_seed` alone makes the TLS key, so that an impostor may have stolen it.
    pub fn with(seed: u8, tls_seed: u8, knobs: Knobs) -> Self {
        let tls = TlsIdentity::from_seed(&[tls_seed; 32]).unwrap();
        let channel = ChannelKey::from_seed(&[seed; 32]).unwrap();
        let receipt_keys = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[seed; 64]).unwrap();
        let public = receipt_keys.verifying_keys();
        let message_key = MessageKey::from_seed(MessageKem::Xwing, &[seed; 32]).unwrap();
        let message_config = KeyConfig::new(seed, message_key.public_key().clone(), &[Gcm::Aes128]);
        let keyset = Keyset {
            capability_digest: capability_digest(&[]).unwrap(),
            channel_key: channel.public(),
            config_digest: Digest256::of(CONFIG.as_bytes()),
            image: Name::new("0.1.0").unwrap(),
            issued_at: now() - 10,
            models: vec![ServedModel {
                base_root: None,
                chat_template_sha256: Digest256([1; 32]),
                counted_by: None,
                name: Name::new("smollm2").unwrap(),
                tokenizer_sha256: Digest256([2; 32]),
                weights_root: Digest256([3; 32]),
            }],
            not_after: now() + 7200,
            ohttp_keys: vec![message_config.to_keyset(Protocol::Ohttp)],
            policy_digest: Digest384::of(b""),
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
            tls_spki_sha256: tls.spki_sha256(),
            version: 1,
        };
        Self {
            knobs,
            keyset,
            tls,
            channel,
            receipt_keys,
            message_key,
            message_config,
            heard: Mutex::default(),
            attestations: AtomicUsize::new(0),
            proofs: AtomicUsize::new(0),
            last_receipt: Mutex::default(),
        }
    }

    /// What this guest answers to `challenge`.
    pub fn bundle(&self, challenge: Nonce) -> Vec<u8> {
        let nonce = window_nonce(&[challenge]);
        let statement = Statement::for_cpu(self.keyset.digest().unwrap(), nonce, Statement::no_devices());
        let image = self.knobs.image.unwrap_or(IMAGE);
        let mut spec = LaunchSpec::new(image, self.keyset.config_digest);
        spec.debug = self.knobs.debug;
        let guest = PROCESSOR.launch(spec).with_crl(PROCESSOR.crl_der(UnixTime(now())));
        let bundle = Bundle {
            collateral: Default::default(),
            capabilities: vec![],
            config: CONFIG.into(),
            cpu: CpuEvidence::Snp(guest.evidence(&statement.report_data().unwrap())),
            devices: vec![],
            freshness: (!self.knobs.unchallenged).then(|| window_path(&[challenge], 0).unwrap()),
            keyset: self.keyset.clone(),
            nonce,
            policy: String::new(),
            version: 1,
        };
        bundle.canonical().unwrap()
    }

    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    async fn answer(self: Arc<Self>, exporter: Arc<Exporter>, request: Request<Incoming>) -> Response<AnyBody> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        match head.uri.path() {
            ATTESTATION_PATH => {
                self.attestations.fetch_add(1, Ordering::SeqCst);
                let challenge = head.uri.query().and_then(|q| q.strip_prefix("challenge=")).unwrap();
                let fresh = || self.bundle(Nonce::from_hex(challenge).unwrap());
                full(self.knobs.recorded_bundle.clone().unwrap_or_else(fresh))
            }
            PROOF_PATH => {
                self.proofs.fetch_add(1, Ordering::SeqCst);
                if let Some(pause) = &self.knobs.proof_pause {
                    pause.notified().await;
                }
                if let Some(genuine) = self.knobs.proofs_from {
                    return full(relay_proof(genuine, body).await);
                }
                let request: ProofRequest = jcs::from_slice("proof", &body, 4096).unwrap();
                let digest = self.keyset.digest().unwrap();
                let answer = self.channel.answer(&request, &exporter, &digest).unwrap();
                full(jcs::to_vec("proof", &answer).unwrap())
            }
            path => {
                self.hear(
                    head.method.as_str(),
                    &head.uri.to_string(),
                    &format!("{:?}", head.headers),
                    &body,
                );
                assert!(!self.knobs.hang_up, "hanging up");
                self.serve(&head.method, path, body)
            }
        }
    }

    pub fn hear(&self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let mut heard = self.heard.lock().unwrap();
        heard.extend_from_slice(format!("{method} {path}\n{headers}\n").as_bytes());
        heard.extend_from_slice(body);
    }

    pub fn serve(self: &Arc<Self>, method: &Method, path: &str, request: Bytes) -> Response<AnyBody> {
        if path.starts_with("/v1/receipts/") {
            return match self.last_receipt.lock().unwrap().clone() {
                Some(receipt) => full(receipt),
                None => status(404),
            };
        }
        match (method, path) {
            (&Method::GET, "/v1/models") => full(br#"{"object":"list","data":[{"id":"smollm2"}]}"#.to_vec()),
            (&Method::POST, "/v1/chat/completions") => {
                if request.windows(13).any(|w| w == b"\"stream\":true") {
                    self.stream(request)
                } else {
                    let answer = br#"{"choices":[{"message":{"role":"assistant","content":"Paris"}}]}"#.to_vec();
                    *self.last_receipt.lock().unwrap() = self.receipt(&request, &answer);
                    let mut answer = full(answer);
                    let id = ReceiptId([7; 16]).to_string().parse().unwrap();
                    answer.headers_mut().insert("hanzo-receipt-id", id);
                    answer.headers_mut().insert("server", "guest".parse().unwrap());
                    answer
                }
            }
            _ => status(404),
        }
    }

    fn stream(self: &Arc<Self>, request: Bytes) -> Response<AnyBody> {
        let frames = [
            "data: {\"choices\":[{\"delta\":{\"content\":\"Pa\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"ris\"}}]}\n\n",
        ];
        let mut tail = self.knobs.before_receipt.as_bytes().to_vec();
        let committed = frames.concat() + self.knobs.before_receipt;
        if let Some(receipt) = self.receipt(&request, committed.as_bytes()) {
            tail.extend([b": hanzo-receipt ".as_slice(), &receipt, b"\n\n"].concat());
        }
        tail.extend_from_slice(self.knobs.after_receipt.as_bytes());
        tail.extend_from_slice(b"data: [DONE]\n\n");
        let pause = self.knobs.pause.clone();
        let pieces = vec![frames[0].as_bytes().to_vec(), frames[1].as_bytes().to_vec(), tail];
        let stream = futures_util::stream::unfold((0_usize, pieces, pause), |(at, pieces, pause)| async move {
            if let (1, Some(pause)) = (at, &pause) {
                pause.notified().await;
            }
            let piece = Bytes::from(pieces.get(at)?.clone());
            Some((Ok::<_, Infallible>(Frame::data(piece)), (at + 1, pieces, pause)))
        });
        let mut answer = Response::new(BodyExt::boxed_unsync(StreamBody::new(stream)));
        answer
            .headers_mut()
            .insert("content-type", "text/event-stream".parse().unwrap());
        answer
    }

    fn receipt(&self, request: &[u8], response: &[u8]) -> Option<Vec<u8>> {
        let salts = Salts {
            request: Salt([8; 32]),
            response: Salt([9; 32]),
        };
        let (mut committed_request, mut committed) = (request.to_vec(), response.to_vec());
        let other = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[0xee; 64]).unwrap();
        let mut keys = &self.receipt_keys;
        match self.knobs.receipts {
            ReceiptKnob::Honest => {}
            ReceiptKnob::OtherResponse => committed.push(b' '),
            ReceiptKnob::OtherRequest => committed_request.push(b' '),
            ReceiptKnob::OtherKeys => keys = &other,
            ReceiptKnob::None => return None,
        }
        let digest = self.keyset.digest().unwrap();
        let model = &self.keyset.models[0];
        let receipt = Receipt {
            base_root: None,
            chat_template_sha256: model.chat_template_sha256,
            completion_tokens: 2,
            counted_by: None,
            id: ReceiptId([7; 16]),
            keyset_digest: digest,
            model: model.name.clone(),
            outcome: Outcome::Complete,
            prev: digest,
            prompt_tokens: 3,
            request_commitment: commitment(&salts.request, &committed_request),
            response_commitment: commitment(&salts.response, &committed),
            sampling: Sampling {
                max_tokens: 64,
                seed: None,
                temperature_micros: 0,
                top_p_micros: 1_000_000,
            },
            seq: 0,
            simulated: true,
            tier: 2,
            time: now(),
            time_source: "host".into(),
            tokenizer_sha256: model.tokenizer_sha256,
            transport: TRANSPORT_TLS.into(),
            version: 1,
            weights_root: model.weights_root,
            work: None,
        };
        let signature = keys.sign(Domain::Receipt, &receipt.canonical().unwrap()).unwrap();
        let signature = SignaturePair {
            ed25519: signature.ed25519_hex(),
            ml_dsa: signature.ml_dsa_hex(),
        };
        Some(SignedReceipt { receipt, signature }.disclose(salts).to_bytes().unwrap())
    }
}

pub type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

fn full(bytes: Vec<u8>) -> Response<AnyBody> {
    let mut answer = Response::new(Full::from(bytes).boxed_unsync());
    answer
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    answer
}

fn status(code: u16) -> Response<AnyBody> {
    let mut answer = full(br#"{"error":{"message":"no","type":"t","param":null,"code":"no"}}"#.to_vec());
    *answer.status_mut() = code.try_into().unwrap();
    answer
}

/// What an impostor does that can reach the genuine guest: asks it the proof over a connection of its own.
async fn relay_proof(genuine: SocketAddr, body: Bytes) -> Vec<u8> {
    let mut stream = crate::relay::unverified_tls(genuine).await;
    crate::relay::raw_exchange(&mut stream, &format!("POST {PROOF_PATH}"), &body).await
}

/// A path on loopback: `to` is who answers now; connections made before stay where they are until severed.
pub struct Network {
    pub at: SocketAddr,
    to: Arc<Mutex<Arc<Guest>>>,
    live: Arc<Mutex<Vec<JoinHandle<()>>>>,
    accepting: JoinHandle<()>,
}

impl Network {
    pub async fn to(guest: &Arc<Guest>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let to = Arc::new(Mutex::new(guest.clone()));
        let live = Arc::new(Mutex::new(Vec::new()));
        let (current, connections) = (to.clone(), live.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let guest: Arc<Guest> = current.lock().unwrap().clone();
                connections.lock().unwrap().push(tokio::spawn(async move {
                    let config = server_config(&guest.tls).unwrap();
                    let Ok(accepted) = hanzo_channel::accept::accept(&config, tcp, Duration::from_secs(5)).await else {
                        return;
                    };
                    let exporter = Arc::new(accepted.exporter);
                    let service = service_fn(move |request| {
                        let answer = guest.clone().answer(exporter.clone(), request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let io = TokioIo::new(accepted.stream);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service)
                        .await;
                }));
            }
        });
        Self {
            at,
            to,
            live,
            accepting,
        }
    }

    /// From now on new connections end in `guest`.
    pub fn divert(&self, guest: &Arc<Guest>) {
        *self.to.lock().unwrap() = guest.clone();
    }

    /// Cuts every connection, and lets whoever has one at rest see it.
    pub async fn sever(&self) {
        let cut: Vec<_> = self.live.lock().unwrap().drain(..).collect();
        for connection in cut {
            connection.abort();
            let _ = connection.await;
        }
        // Without it a request may meet the end of its connection, and is then rightly not sent again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    pub fn connections(&self) -> usize {
        self.live.lock().unwrap().len()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.accepting.abort();
        for connection in self.live.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

/// Accepts exactly the healthy guest.
pub fn context() -> VerifierContext {
    let spec = LaunchSpec::new(IMAGE, Digest256::of(CONFIG.as_bytes()));
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: spec.tcb.bootloader,
            tee: spec.tcb.tee,
            snp: spec.tcb.snp,
            microcode: spec.tcb.microcode,
        }),
        ..TcbFloors::default()
    };
    let reference = SnpReference {
        name: Name::new("healthy").unwrap(),
        measurement: simulated_measurement(&IMAGE, &spec.config_digest),
        config_digest: spec.config_digest,
    };
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    VerifierContext {
        anchors: Anchors::vendor().with_simulator_ark(PROCESSOR.ark_der().to_vec()),
        collateral: Collateral::default(),
        policy,
    }
}

/// A client with a clock that the test moves.
pub fn client(at: SocketAddr, state: Option<&Path>) -> (AttestedClient, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(now()));
    let mut config = ClientConfig::new(at.into(), context());
    let hand = clock.clone();
    config.clock = Arc::new(move || UnixTime(hand.load(Ordering::SeqCst)));
    config.state_dir = state.map(Path::to_path_buf);
    (AttestedClient::new(config).unwrap(), clock)
}

pub fn chat(stream: bool) -> serde_json::Value {
    serde_json::json!({"model": "smollm2", "messages": [{"role": "user", "content": PROMPT}], "stream": stream})
}
