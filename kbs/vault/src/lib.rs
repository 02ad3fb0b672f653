//! hanzo-vault
