//! hanzo-inference
