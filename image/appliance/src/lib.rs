//! hanzo
