//! hanzo-pqc
