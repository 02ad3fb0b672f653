//! hanzo-tests-adversary
