//! Chunks over a few threads, with bounded memory: each thread holds as many chunks as are worked on together.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::error::PackError;
use crate::table::DataChunk;
use crate::{OnProgress, Progress};

const THREADS_MAX: usize = 16;

/// What is done with one chunk.
type Work<'a> = dyn Fn(usize, &DataChunk, &mut Vec<u8>) -> Result<(), PackError> + Sync + 'a;
/// What is done with chunks that follow each other and are of one length, the first of which has this number; each has a buffer.
type GroupWork<'a> = dyn Fn(usize, &[DataChunk], &mut [Vec<u8>]) -> Result<(), PackError> + Sync + 'a;

/// Runs `work(number, chunk, buffer)` for every chunk. After a failure no new chunk starts; the failure of the lowest chunk
/// is returned.
pub(crate) fn for_each_chunk(chunks: &[DataChunk], progress: OnProgress<'_>, work: &Work<'_>) -> Result<(), PackError> {
    for_each_group(
        chunks,
        1,
        progress,
        &|number, group, buffers| match (group.first(), buffers.first_mut()) {
            (Some(chunk), Some(buffer)) => work(number, chunk, buffer),
            _ => Ok(()),
        },
    )
}

/// The same for groups of at most `most` chunks.
pub(crate) fn for_each_group(
    chunks: &[DataChunk],
    most: usize,
    progress: OnProgress<'_>,
    work: &GroupWork<'_>,
) -> Result<(), PackError> {
    let total_bytes = chunks.iter().map(|c| c.len as u64).sum();
    let groups = groups(chunks, most);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let worker = || -> Result<(), PackError> {
        let mut buffers = vec![Vec::new(); most];
        while !stop.load(Ordering::Relaxed) {
            let Some(range) = groups.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let group = chunks.get(range.clone()).unwrap_or_default();
            work(range.start, group, &mut buffers).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            let bytes = group.iter().map(|c| c.len as u64).sum();
            progress(Progress {
                done_bytes: done.fetch_add(bytes, Ordering::Relaxed) + bytes,
                total_bytes,
            });
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(2, |n| n.get().clamp(2, THREADS_MAX));
    let threads = threads.min(groups.len().max(1));
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

/// Chunks that follow each other and are of one length, at most `most` together.
fn groups(chunks: &[DataChunk], most: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut at = 0;
    for alike in chunks.chunk_by(|one, other| one.len == other.len) {
        for part in alike.chunks(most) {
            groups.push(at..at + part.len());
            at += part.len();
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_chunk_once_and_none_of_another_length() {
        let chunk = |len| DataChunk {
            file: 0,
            offset: 0,
            len,
            before: 0,
        };
        let chunks = [5, 5, 5, 5, 5, 2, 5, 5, 1].map(chunk);
        assert_eq!(groups(&chunks, 4), [0..4, 4..5, 5..6, 6..8, 8..9]);
        assert_eq!(groups(&chunks, 1).len(), chunks.len());
        assert!(groups(&[], 4).is_empty());
    }
}
