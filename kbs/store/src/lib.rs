//! hanzo-store
