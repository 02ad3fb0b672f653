//! One test binary: linking the inference library is slow.

mod convert;
mod fixture;
mod http;
mod isolation;
mod process;
mod real_model;
