//! hanzo-verify
