//! NVIDIA's reference measurements and OCSP answers, through the public API: real RIM files, and a simulated issuer's
//! with one thing wrong.

mod real;
