//! Bounds on time, size and number. A hostile peer can make a call fail, not make it hang or grow.

use std::time::Duration;

/// Bounds of one client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the TCP connection.
    pub connect: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the bundle; a guest answers within one window (1 s) and its hardware call.
    pub attestation: Duration,
    /// For the channel proof.
    pub proof: Duration,
    /// From the request to the head of its answer; an answer that is not streamed is generated whole before it.
    pub answer_head: Duration,
    /// Between two pieces of an answer.
    pub answer_gap: Duration,
    /// Connections at a time.
    pub connections_max: usize,
    /// How long to wait for one of them.
    pub connection_wait: Duration,
    /// Idle connections that are kept.
    pub idle_max: usize,
    /// How long they are kept.
    pub idle_for: Duration,
    /// How long after a guest's last word a message key is taken to be that guest's still: then a small sealed request goes
    /// first, so that a guest that started again is noticed before a question is sealed to a key that is gone.
    pub sealed_key_trusted_for: Duration,
    /// Longest answer in bytes that is held to check its receipt.
    pub answer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            attestation: Duration::from_secs(30),
            proof: Duration::from_secs(10),
            answer_head: Duration::from_secs(3600),
            answer_gap: Duration::from_secs(300),
            connections_max: 64,
            connection_wait: Duration::from_secs(30),
            idle_max: 16,
            idle_for: Duration::from_secs(55),
            sealed_key_trusted_for: Duration::from_secs(30),
            answer_bytes_max: 32 << 20,
        }
    }
}
