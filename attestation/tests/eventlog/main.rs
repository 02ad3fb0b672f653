//! Event logs, through the public API: real ones, made ones with one thing wrong, and noise.

mod anything;
mod manifest;
mod mutants;
mod real;
