//! hanzo-device
