//! Chunks over a few threads, with bounded memory: each thread holds one chunk.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::error::PackError;
use crate::table::DataChunk;
use crate::{OnProgress, Progress};

const THREADS_MAX: usize = 16;

/// What is done with one chunk.
type Work<'a> = dyn Fn(usize, &DataChunk, &mut Vec<u8>) -> Result<(), PackError> + Sync + 'a;

/// Runs `work(number, chunk, buffer)` for every chunk. After a failure no new chunk starts; the failure of the lowest chunk
/// is returned.
pub(crate) fn for_each_chunk(chunks: &[DataChunk], progress: OnProgress<'_>, work: &Work<'_>) -> Result<(), PackError> {
    let total_bytes = chunks.iter().map(|c| c.len as u64).sum();
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let worker = || -> Result<(), PackError> {
        let mut buffer = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(number) else { break };
            work(number, chunk, &mut buffer).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            let done_bytes = done.fetch_add(chunk.len as u64, Ordering::Relaxed) + chunk.len as u64;
            progress(Progress {
                done_bytes,
                total_bytes,
            });
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(2, |n| n.get().clamp(2, THREADS_MAX));
    let threads = threads.min(chunks.len().max(1));
    let failures = thread::scope(|scope| {
        let handles: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let mut failures: Vec<PackError> = worker().err().into_iter().collect();
        for handle in handles {
            match handle.join() {
                Ok(result) => failures.extend(result.err()),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        failures
    });
    match failures.into_iter().min_by_key(|e| e.chunk().unwrap_or(0)) {
        Some(first) => Err(first),
        None => Ok(()),
    }
}
