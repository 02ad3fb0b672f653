//! Stands in for crate criterion: commonware-runtime links it, always, for one trait of its benches' executor. Nothing of ours calls
//! it, and fifteen crates stay out.
#![forbid(unsafe_code)]

/// Where the trait stands in criterion.
pub mod async_executor {
    use std::future::Future;

    /// Runs a future to its end.
    pub trait AsyncExecutor {
        /// Its output.
        fn block_on<T>(&self, future: impl Future<Output = T>) -> T;
    }
}
