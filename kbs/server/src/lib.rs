//! hanzo-kbs
