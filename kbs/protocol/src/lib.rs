//! hanzo-kbs-protocol
