//! hanzo-channel
