//! The API over a small engine that speaks the protocol, honestly or not.

mod access;
mod aci;
mod anthropic;
mod choices;
mod double;
mod errors;
mod fixture;
mod hidden;
mod hostile;
mod leaving;
mod orders;
mod queueing;
mod raw;
mod receipts;
mod responses;
mod shapes;
mod signed;
mod tokens;
mod told;
