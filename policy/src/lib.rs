//! hanzo-policy
