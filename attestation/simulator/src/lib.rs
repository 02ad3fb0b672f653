//! hanzo-simulated-tee
