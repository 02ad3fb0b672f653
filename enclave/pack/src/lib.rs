//! hanzo-pack
