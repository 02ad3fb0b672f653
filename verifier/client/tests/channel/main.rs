//! The client against guests and impostors on loopback: real TLS, real evidence formats, real proofs and receipts.

mod attacks;
mod channel;
mod guest;
mod local;
mod receipts;
mod relay;
