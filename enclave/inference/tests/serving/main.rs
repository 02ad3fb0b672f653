//! The API over a small engine that speaks the protocol, honestly or not.

mod double;
mod errors;
mod fixture;
mod hostile;
mod leaving;
mod receipts;
mod shapes;
