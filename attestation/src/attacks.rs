//! Past attacks on verifiers, our answer to each, and the test that would fail if the answer were gone.
