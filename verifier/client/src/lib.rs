//! hanzo-client
