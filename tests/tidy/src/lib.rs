//! hanzo-tests-tidy
