//! What a client knows of a guest, and the four ways in: attested TLS, sealed messages in parts by the client library, sealed
//! messages whole, and EHBP. Each says the same of an answer: whole, or a code.

use std::net::SocketAddr;

use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Anchors, Collateral, Digest256};
use hanzo_client::{AttestedClient, ChannelRequest, ClientConfig, Limits, ReceiptStatus, SealedClient, SealedConfig};
use hanzo_policy::PrivacyTier;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::MessageKem;
use hanzo_sealed::bhttp::{Field, RequestHead, ResponseHead, Whole, decode, encode_request};
use hanzo_sealed::config::KeyConfig;
use hanzo_sealed::{SealedError, ehbp, ohttp};
use hanzo_simulated_tee::SimulatedProcessor;
use hanzo_verifier::VerifierContext;
use http_body_util::BodyExt as _;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::appliance::policy;
use crate::attack::Saw;
use crate::canary::PROMPT;
use crate::relay::{Answered, Asked, send};

const CHAT: &str = "/v1/chat/completions";
/// Longest chunk of a sealed answer.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WayIn {
    /// The attested channel, streamed.
    Tls,
    /// OHTTP, sealed whole, answered whole.
    Whole,
    /// OHTTP in parts, streamed, by the client library.
    Parts,
    /// EHBP, streamed.
    Ehbp,
}

impl WayIn {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tls, Self::Whole, Self::Parts, Self::Ehbp];

    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "attested TLS",
            Self::Whole => "OHTTP",
            Self::Parts => "chunked OHTTP",
            Self::Ehbp => "EHBP",
        }
    }
}

/// What a client knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Door {
    /// Where attested connections go.
    pub tls: SocketAddr,
    /// Where sealed messages go.
    pub clear: SocketAddr,
    /// The configuration that the client expects.
    pub config_digest: Digest256,
}

/// A client that has attested its guest.
pub enum Prepared {
    /// See [`WayIn::Tls`].
    Tls(AttestedClient),
    /// See [`WayIn::Whole`].
    Whole(SocketAddr, Box<Keyset>),
    /// See [`WayIn::Parts`].
    Parts(Box<SealedClient>),
    /// See [`WayIn::Ehbp`].
    Ehbp(SocketAddr, Box<Keyset>),
}

impl Prepared {
    /// Asks one question.
    pub async fn ask(&self, words: &str) -> Saw {
        match self {
            Self::Tls(client) => ask_streamed(client, words).await,
            Self::Parts(client) => ask_sealed(client, words).await,
            Self::Whole(at, keyset) => ask_whole(*at, keyset, words).await,
            Self::Ehbp(at, keyset) => ask_ehbp(*at, keyset, words).await,
        }
    }
}

/// A question whose answer is known.
pub fn question(words: &str, is_stream: bool) -> Value {
    json!({
        "model": "tiny",
        "stream": is_stream,
        "messages": [{"role": "user", "content": format!("{words} {PROMPT}")}],
    })
}

impl Door {
    /// Roots and policy of a careful client.
    pub fn context(&self) -> VerifierContext {
        VerifierContext {
            anchors: Anchors::vendor().with_simulator_ark(SimulatedProcessor::for_tests().ark_der().to_vec()),
            collateral: Collateral::default(),
            policy: policy(self.config_digest, PrivacyTier::CpuTee),
        }
    }

    /// Short bounds: attacks that stall are over soon.
    pub fn limits() -> Limits {
        let short = std::time::Duration::from_millis(1_500);
        Limits {
            handshake: short,
            attestation: short * 4,
            proof: short,
            answer_head: short * 10,
            answer_gap: short * 10,
            ..Limits::default()
        }
    }

    /// A client of the attested channel.
    pub fn attested(&self) -> AttestedClient {
        self.attested_at(self.tls)
    }

    /// The same, at another address.
    pub fn attested_at(&self, at: SocketAddr) -> AttestedClient {
        self.attested_with(at, |_| {})
    }

    /// The same, with a changed configuration.
    pub fn attested_with(&self, at: SocketAddr, change: impl FnOnce(&mut ClientConfig)) -> AttestedClient {
        let mut config = ClientConfig::new(at.into(), self.context());
        config.limits = Self::limits();
        change(&mut config);
        AttestedClient::new(config).unwrap()
    }

    /// A client of sealed messages.
    pub fn sealed(&self) -> SealedClient {
        self.sealed_with(|_| {})
    }

    /// The same, with a changed configuration.
    pub fn sealed_with(&self, change: impl FnOnce(&mut SealedConfig)) -> SealedClient {
        let mut config = SealedConfig::new(self.clear.into(), self.context());
        config.limits = Self::limits();
        change(&mut config);
        SealedClient::new(config).unwrap()
    }

    /// Attests the guest, and sends nothing yet.
    ///
    /// # Errors
    /// What the client saw instead.
    pub async fn prepare(&self, way: WayIn) -> Result<Prepared, Saw> {
        Ok(match way {
            WayIn::Tls => {
                let client = self.attested();
                client.verdict().await?;
                Prepared::Tls(client)
            }
            WayIn::Parts => {
                let client = self.sealed();
                client.verdict().await?;
                Prepared::Parts(Box::new(client))
            }
            WayIn::Whole => Prepared::Whole(self.clear, Box::new(self.keyset().await?)),
            WayIn::Ehbp => Prepared::Ehbp(self.clear, Box::new(self.keyset().await?)),
        })
    }

    /// Attests the guest and asks one question.
    pub async fn ask(&self, way: WayIn, words: &str) -> Saw {
        match self.prepare(way).await {
            Ok(prepared) => prepared.ask(words).await,
            Err(saw) => saw,
        }
    }

    /// The keyset, attested over the clear way.
    pub async fn keyset(&self) -> Result<Keyset, Saw> {
        let verdict = self.sealed().verdict().await;
        verdict.map(|v| v.keyset().clone()).map_err(Saw::from)
    }
}

/// One question over the attested channel, not streamed, its receipt checked.
pub async fn ask_attested(client: &AttestedClient, words: &str) -> Saw {
    match client.chat_once(&question(words, false)).await {
        Ok(answer) => match answer.receipt {
            ReceiptStatus::Verified { .. } => Saw::Whole(answer.content),
            other => Saw::refused(other.word(), format!("{other:?}")),
        },
        Err(error) => error.into(),
    }
}

/// One streamed question over the attested channel.
pub async fn ask_streamed(client: &AttestedClient, words: &str) -> Saw {
    let body = question(words, true).to_string();
    let answer = match client.send(ChannelRequest::post_json(CHAT, body.into())).await {
        Ok(answer) => answer,
        Err(error) => return error.into(),
    };
    let status = answer.status();
    match answer.into_body().collect().await {
        Ok(body) => judge_stream(status, &body.to_bytes()),
        Err(error) => error.into(),
    }
}

/// One streamed question by the client of sealed messages.
pub async fn ask_sealed(client: &SealedClient, words: &str) -> Saw {
    let body = question(words, true).to_string();
    let answer = match client.send(ChannelRequest::post_json(CHAT, body.into())).await {
        Ok(answer) => answer,
        Err(error) => return error.into(),
    };
    let status = answer.status();
    match answer.into_body().collect().await {
        Ok(body) => judge_stream(status, &body.to_bytes()),
        Err(error) => error.into(),
    }
}

/// What a client of OpenAI's streams takes for whole: no error in it, and `[DONE]` last.
pub fn judge_stream(status: StatusCode, body: &[u8]) -> Saw {
    let text = String::from_utf8_lossy(body);
    let frames = text.lines().filter_map(|l| l.strip_prefix("data: "));
    let mut said = String::new();
    for value in frames
        .chain([&*text])
        .filter_map(|f| serde_json::from_str::<Value>(f).ok())
    {
        if let Some(code) = value.pointer("/error/code").and_then(Value::as_str) {
            return Saw::refused(code, format!("status {}", status.as_u16()));
        }
        said.push_str(
            value
                .pointer("/choices/0/delta/content")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        );
    }
    match text.ends_with("data: [DONE]\n\n") {
        true => Saw::Whole(said),
        false => Saw::refused("incomplete", "the stream ended without [DONE]"),
    }
}

fn judge_json(status: u16, body: &[u8]) -> Saw {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = value
        .pointer("/error/code")
        .or(value.pointer("/code"))
        .and_then(Value::as_str);
    match (
        code,
        value.pointer("/choices/0/message/content").and_then(Value::as_str),
    ) {
        (Some(code), _) => Saw::refused(code, format!("status {status}")),
        (None, Some(content)) if status == 200 => Saw::Whole(content.to_owned()),
        _ => Saw::refused(format!("status {status}"), "no answer"),
    }
}

/// The key of a keyset for one protocol.
pub fn key_of(keyset: &Keyset, protocol: &str, kem: MessageKem) -> KeyConfig {
    let mut keys = keyset.ohttp_keys.iter();
    let key = keys
        .find(|k| k.protocol == protocol && k.kem == kem.name())
        .expect("the way is open");
    KeyConfig::from_keyset(key).unwrap()
}

/// A request of HTTP with these header fields.
pub fn asked(path: &str, fields: &[(&'static str, &str)], body: Vec<u8>) -> Asked {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    Asked {
        method: Method::POST,
        path: path.into(),
        headers,
        body,
    }
}

/// A chat as binary HTTP.
pub fn binary_chat(words: &str) -> Vec<u8> {
    let head = RequestHead {
        method: "POST".into(),
        scheme: "https".into(),
        authority: "guest".into(),
        path: CHAT.into(),
        fields: vec![
            Field::new("content-type", "application/json"),
            Field::new("hanzo-owner", "4f".repeat(32)),
        ],
    };
    encode_request(&head, question(words, false).to_string().as_bytes())
}

/// A chat sealed whole, and what its answer is opened with.
pub fn sealed_whole(config: &KeyConfig, words: &str) -> (Vec<u8>, ohttp::ResponseOpener) {
    ohttp::seal_request(config, Gcm::Aes256, &binary_chat(words)).unwrap()
}

/// Sends a message sealed whole.
pub async fn post_whole(at: SocketAddr, sealed: Vec<u8>) -> std::io::Result<Answered> {
    let fields = [("content-type", ohttp::REQUEST_MEDIA_TYPE)];
    send(at, &asked(ohttp::GATEWAY_PATH, &fields, sealed)).await
}

/// What came back to a message sealed whole.
pub fn judge_whole(answered: std::io::Result<Answered>, opener: ohttp::ResponseOpener) -> Saw {
    let answered = match answered {
        Ok(answered) => answered,
        Err(error) => return Saw::refused("http.broken", error.to_string()),
    };
    let is_sealed = answered
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|v| v == ohttp::RESPONSE_MEDIA_TYPE);
    if answered.status != 200 || !is_sealed {
        return match judge_json(answered.status, &answered.body) {
            Saw::Whole(_) => Saw::refused("sealed.answer", "an answer in clear"),
            saw => saw,
        };
    }
    let inside = opener.open(&answered.body);
    match inside.and_then(|message| decode::<ResponseHead>(&message)) {
        Ok(Whole { head, content, .. }) => judge_json(head.status, &content),
        Err(error) => error.into(),
    }
}

/// One question sealed whole.
pub async fn ask_whole(at: SocketAddr, keyset: &Keyset, words: &str) -> Saw {
    let (sealed, opener) = sealed_whole(&key_of(keyset, "ohttp", MessageKem::Xwing), words);
    judge_whole(post_whole(at, sealed).await, opener)
}

/// A chat sealed by EHBP, and what its answer is opened with.
pub fn sealed_ehbp(keyset: &Keyset, words: &str) -> (Asked, ehbp::PendingAnswer) {
    let key = key_of(keyset, "ehbp", MessageKem::X25519);
    let (enc, mut sealer, pending) = ehbp::RequestSealer::begin(key.public_key()).unwrap();
    let text = question(words, true).to_string();
    let body = text
        .as_bytes()
        .chunks(4_000)
        .flat_map(|c| sealer.chunk(c).unwrap())
        .collect();
    let fields = [
        ("content-type", "application/json"),
        (ehbp::ENCAPSULATED_KEY_HEADER, &enc),
    ];
    (asked(CHAT, &fields, body), pending)
}

/// What came back to a chat sealed by EHBP.
pub fn judge_ehbp(answered: std::io::Result<Answered>, pending: ehbp::PendingAnswer) -> Saw {
    let answered = match answered {
        Ok(answered) => answered,
        Err(error) => return Saw::refused("http.broken", error.to_string()),
    };
    let Some(nonce) = answered
        .headers
        .get(ehbp::RESPONSE_NONCE_HEADER)
        .and_then(|v| v.to_str().ok())
    else {
        return match judge_json(answered.status, &answered.body) {
            Saw::Refused { code, text } if code != "status 200" => Saw::refused(code, text),
            _ => Saw::refused("sealed.answer", "an answer that is not sealed"),
        };
    };
    let open = || -> Result<Vec<u8>, SealedError> {
        let mut opener = pending.begin(nonce, CHUNK_BYTES_MAX)?;
        opener.push(&answered.body);
        let mut text = Vec::new();
        while let Some(chunk) = opener.next_chunk()? {
            text.extend_from_slice(&chunk);
        }
        opener.end().map(|()| text)
    };
    match open() {
        Ok(text) => judge_stream(StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK), &text),
        Err(error) => error.into(),
    }
}

/// One question by EHBP.
pub async fn ask_ehbp(at: SocketAddr, keyset: &Keyset, words: &str) -> Saw {
    let (asked, pending) = sealed_ehbp(keyset, words);
    judge_ehbp(send(at, &asked).await, pending)
}
