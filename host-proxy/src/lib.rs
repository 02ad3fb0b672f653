//! hanzo-proxy
