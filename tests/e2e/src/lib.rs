//! hanzo-tests-e2e
