//! Asking a node over HTTP/1.1, and what is believed of its answers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use hanzo_attestation::Digest256;
use hanzo_chain_rpc::calls::{Call, EntryView, GetEntry, GetGenesis, GetProof, GetTransaction, ProofView};
use hanzo_chain_rpc::client::{self, ANSWER_BYTES_MAX, CallError};
use hanzo_chain_types::{LIGHT_PROOF_BYTES_MAX, LightClient, LightProof};
use hanzo_ledger::{Canonical, Genesis, Key, VALUE_BYTES_MAX, Value};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{ChainError, files};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two questions whether something is final.
const POLL: Duration = Duration::from_millis(200);
/// How long a certificate of a final block is waited for: many times the least time between blocks.
const CERTIFIED_WITHIN: Duration = Duration::from_secs(15);
/// Longest genesis in bytes.
pub(crate) const GENESIS_BYTES_MAX: usize = 2 << 20;

/// Which node, and what is trusted.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// Where the node answers: host:port or http://host:port [default: the first validator of --dir]
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub node: Option<String>,
    /// Folder of a development network, as `hanzo chain init` made it
    #[arg(long, value_name = "DIR", default_value = "hanzo-chain", global = true)]
    pub dir: PathBuf,
    /// The network's genesis file, which proofs are held against [default: that of --dir, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    pub genesis: Option<PathBuf>,
}

/// A node, by its address. It is asked in the clear: nothing secret is sent, and proofs say what is so.
#[derive(Debug, Clone)]
pub struct NodeClient {
    at: String,
}

impl NodeClient {
    /// Of `host:port` or `http://host:port`.
    ///
    /// # Errors
    /// [`ChainError::Usage`].
    pub fn new(text: &str) -> Result<Self, ChainError> {
        let wrong = || ChainError::Usage {
            option: "--node",
            expected: "host:port or http://host:port".into(),
            got: text.chars().take(80).collect(),
        };
        let at = text.strip_prefix("http://").unwrap_or(text);
        let at = at.strip_suffix('/').unwrap_or(at);
        let (host, port) = at.rsplit_once(':').ok_or_else(wrong)?;
        let plain = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b));
        match !host.is_empty() && plain && port.parse::<u16>().is_ok() {
            true => Ok(Self { at: at.to_owned() }),
            false => Err(wrong()),
        }
    }

    /// Where it is.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// Asks.
    ///
    /// # Errors
    /// [`ChainError::Unreachable`], [`ChainError::Node`].
    pub async fn ask<C: Call>(&self, call: &C) -> Result<C::Answer, ChainError> {
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, self.post(client::request(1, call))).await;
        let body = match answered {
            Ok(body) => body?,
            Err(_) => return Err(self.unreachable("no answer within a minute")),
        };
        client::answer::<C>(1, &body).map_err(|source| ChainError::Node {
            at: self.at.clone(),
            source,
        })
    }

    fn unreachable(&self, what: impl std::fmt::Display) -> ChainError {
        ChainError::Unreachable {
            at: self.at.clone(),
            what: what.to_string(),
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<Bytes, ChainError> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.at)).await;
        let stream = connected.map_err(|_| self.unreachable("no connection within 5 s"))?;
        let stream = stream.map_err(|e| self.unreachable(e))?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.unreachable(e))?;
        let carried = tokio::spawn(connection);
        let request = hyper::Request::post(client::PATH)
            .header("host", &self.at)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| self.unreachable(e))?;
        let response = send.send_request(request).await.map_err(|e| self.unreachable(e))?;
        let status = response.status();
        let read = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        carried.abort();
        let body = read.map_err(|e| self.unreachable(e))?.to_bytes();
        match status.is_success() {
            true => Ok(body),
            // The server's own words, as RFC 9457 has them.
            false => {
                let told: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
                let member = |name: &str| told.as_ref().and_then(|t| t.get(name)?.as_str()).map(str::to_owned);
                Err(ChainError::Node {
                    at: self.at.clone(),
                    source: CallError::Refused {
                        number: i64::from(status.as_u16()),
                        message: member("title").unwrap_or_else(|| format!("HTTP status {status}")),
                        code: member("code").unwrap_or_else(|| "rpc.http".into()),
                    },
                })
            }
        }
    }
}

/// A node that is asked, and the genesis that its proofs are held against, if there is one.
pub(crate) struct Asked {
    pub(crate) node: NodeClient,
    trusted: Option<Genesis>,
}

impl NodeArgs {
    /// A genesis file, read.
    pub(crate) fn genesis_file(path: &Path) -> Result<Genesis, ChainError> {
        Ok(Genesis::parse(&files::read(path, GENESIS_BYTES_MAX)?)?)
    }

    pub(crate) fn genesis_path(&self) -> Option<PathBuf> {
        let own = || Some(self.dir.join("genesis.bin")).filter(|path| path.is_file());
        self.genesis.clone().or_else(own)
    }

    pub(crate) fn asked(&self) -> Result<Asked, ChainError> {
        let node = match &self.node {
            Some(text) => NodeClient::new(text)?,
            None => {
                let first = files::validators(&self.dir)
                    .iter()
                    .find_map(|folder| files::ready(folder));
                let first = first.ok_or_else(|| ChainError::Unreachable {
                    at: self.dir.display().to_string(),
                    what: "no validator of this folder said where it answers".into(),
                })?;
                NodeClient::new(&first)?
            }
        };
        let trusted = self.genesis_path().map(|path| Self::genesis_file(&path)).transpose()?;
        Ok(Asked { node, trusted })
    }
}

impl Asked {
    /// The genesis: the trusted one, or what the node says, which signs for no other network than the node's.
    pub(crate) async fn genesis(&self) -> Result<Genesis, ChainError> {
        let told = self.node.ask(&GetGenesis::default()).await?;
        let bytes = hex::decode(&told.genesis).unwrap_or_default();
        let told = Genesis::parse(&bytes)?;
        match &self.trusted {
            Some(trusted) if trusted.digest() != told.digest() => Err(ChainError::Mismatch {
                what: "genesis of the node",
                expected: trusted.digest().to_string(),
                got: told.digest().to_string(),
            }),
            _ => Ok(told),
        }
    }

    /// True if proofs are held against a genesis that is not the node's word.
    pub(crate) fn verifies(&self) -> bool {
        self.trusted.is_some()
    }

    pub(crate) fn light(&self, genesis: &Genesis) -> Result<LightClient, ChainError> {
        Ok(LightClient::of_genesis(genesis)?)
    }

    /// What stands under a key in the node's newest state.
    pub(crate) async fn entry(&self, key: &Key) -> Result<(Option<Value>, u64), ChainError> {
        let call = GetEntry {
            key: Some(hex::encode(key.to_bytes())),
        };
        let EntryView { value, height } = self.node.ask(&call).await?;
        let value = value.map(|text| {
            let bytes = hex::decode(text).unwrap_or_default();
            Value::from_bytes("value", &bytes, VALUE_BYTES_MAX)
        });
        let wrong = |e: hanzo_ledger::DecodeError| ChainError::Node {
            at: self.node.at.clone(),
            source: CallError::Answer {
                method: GetEntry::METHOD,
                what: e.to_string(),
            },
        };
        Ok((value.transpose().map_err(wrong)?, height))
    }

    /// A light proof and its bytes.
    pub(crate) async fn proof(&self, call: &GetProof) -> Result<(LightProof, Vec<u8>, ProofView), ChainError> {
        let view = self.node.ask(call).await?;
        let bytes = hex::decode(&view.light_proof).unwrap_or_default();
        if bytes.len() > LIGHT_PROOF_BYTES_MAX {
            return Err(ChainError::Mismatch {
                what: "light proof",
                expected: format!("at most {LIGHT_PROOF_BYTES_MAX} bytes"),
                got: bytes.len().to_string(),
            });
        }
        let proof = LightProof::parse(&bytes).map_err(hanzo_chain_types::LightError::from)?;
        Ok((proof, bytes, view))
    }

    /// As [`Self::proof`]; a block that is final only now gets its certificate with the next one, which is waited for.
    ///
    /// # Errors
    /// [`ChainError`].
    pub(crate) async fn proof_soon(&self, call: &GetProof) -> Result<(LightProof, Vec<u8>, ProofView), ChainError> {
        let end = Instant::now() + CERTIFIED_WITHIN;
        loop {
            match self.proof(call).await {
                Err(e) if e.code() == "chain.proof.not_yet" && Instant::now() < end => tokio::time::sleep(POLL).await,
                other => return other,
            }
        }
    }

    /// Waits until a transaction stands in a final block; with a trusted genesis its proof is checked.
    pub(crate) async fn final_at(
        &self,
        id: &Digest256,
        seconds: u64,
    ) -> Result<(u64, LightProof, Vec<u8>), ChainError> {
        let end = Instant::now() + Duration::from_secs(seconds);
        let placed = GetTransaction {
            id: Some(id.to_string()),
        };
        let proof = GetProof {
            kind: Some("transaction".into()),
            id: Some(id.to_string()),
            ..GetProof::default()
        };
        loop {
            match self.node.ask(&placed).await {
                Ok(view) if !view.pending => match self.proof(&proof).await {
                    Ok((light, bytes, view)) => {
                        if let Some(genesis) = &self.trusted {
                            self.light(genesis)?.block(&light)?;
                        }
                        return Ok((view.height, light, bytes));
                    }
                    Err(e) if e.code() == "chain.proof.not_yet" => {}
                    Err(e) => return Err(e),
                },
                Ok(_) => {}
                Err(e) if e.code() == "rpc.none" => {}
                Err(e) => return Err(e),
            }
            if Instant::now() >= end {
                return Err(ChainError::NotFinal {
                    id: id.to_string(),
                    seconds,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_else() {
        for text in [
            "127.0.0.1:9000",
            "http://localhost:9000",
            "http://[::1]:9000/",
            "node.example:1",
        ] {
            assert!(NodeClient::new(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1",
            "https://a:1",
            "a:b",
            "a:70000",
            "u@h:1",
            "http://a:1/path",
            ":1",
        ] {
            assert_eq!(NodeClient::new(text).unwrap_err().code(), "chain.usage", "{text}");
        }
    }
}
