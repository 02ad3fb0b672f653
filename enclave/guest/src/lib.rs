//! hanzo-guest
