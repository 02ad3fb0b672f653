//! The client against guests and impostors on loopback: real TLS, real evidence formats, real proofs and receipts.

mod attacks;
mod channel;
mod gateway;
mod guest;
mod local;
mod receipts;
mod relay;
mod sealed;
mod signed;
mod status;
