//! The thread that computes: it alone holds the library's context.
//!
//! Each answer in progress has a sequence of its own in the key-value memory. A step takes a token of every answer that is
//! being written and a share of every prompt that is being read, computes them together, chooses a token where there are
//! logits, and hands it out. Between steps answers end, go away and begin.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use hanzo_engine_process::{Assembler, Finish, GenerateError, Picker, Token, Turn};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::LlamaVocab;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::batch::{STEP_TOKENS, shares};
use crate::load::{context_params, library};

/// How long after the last answer its keys and values are overwritten: zeroing costs milliseconds, which the next question of
/// a conversation should not wait for.
const IDLE: Duration = Duration::from_millis(250);

/// The shape of the computation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub context_tokens: usize,
    pub streams: usize,
    pub threads: usize,
}

/// An answer to compute.
pub(crate) struct Job {
    /// Its prompt; the answer's tokens are put behind.
    pub ids: Zeroizing<Vec<u32>>,
    pub picker: Picker,
    pub stop: Vec<String>,
    pub max_tokens: usize,
    /// Closed when nobody listens any more.
    pub out: UnboundedSender<Result<Token, GenerateError>>,
    pub turn: Turn,
}

/// An answer in progress.
struct Answering {
    ids: Zeroizing<Vec<u32>>,
    /// How many of `ids` are in the key-value memory.
    fed: usize,
    /// Tokens of the answer so far.
    count: usize,
    max_tokens: usize,
    sequence: u32,
    picker: Picker,
    text: Assembler,
    out: UnboundedSender<Result<Token, GenerateError>>,
    /// Where in the step its logits are.
    row: Option<i32>,
    _turn: Turn,
}

pub(crate) struct Worker<'model> {
    context: LlamaContext<'model>,
    vocab: LlamaVocab<'model>,
    batch: LlamaBatch<'static>,
    active: Vec<Answering>,
    /// Sequences nobody uses.
    free: Vec<u32>,
    /// Keys and values of past answers lie in the memory.
    dirty: bool,
}

impl Worker<'_> {
    /// Computes until no more jobs can come. Says through `ready` whether it could begin.
    pub(crate) fn run(model: &LlamaModel, shape: Shape, jobs: Receiver<Job>, ready: oneshot::Sender<bool>) {
        let Some(mut worker) = Worker::begin(model, shape) else {
            let _ = ready.send(false);
            return;
        };
        worker.warm_up();
        // From here on prompts come, and the library says nothing.
        library(|library| library.void_logs());
        let _ = ready.send(true);
        while worker.take(&jobs) {
            worker.step();
        }
    }

    fn begin(model: &LlamaModel, shape: Shape) -> Option<Worker<'_>> {
        let params = context_params(shape.context_tokens, shape.streams, shape.threads)?;
        let context = library(|library| model.new_context(library, params))?.ok()?;
        Some(Worker {
            context,
            vocab: model.vocab(),
            batch: LlamaBatch::new(STEP_TOKENS, 1),
            active: Vec::new(),
            free: (0..u32::try_from(shape.streams).ok()?).rev().collect(),
            dirty: false,
        })
    }

    /// Touches the weights and the buffers, so that the first question does not wait for pages.
    fn warm_up(&mut self) {
        if self.batch.add(LlamaToken(0), 0, &[0], true).is_ok() {
            // What a failure means the first question will show.
            let _ = self.context.decode(&mut self.batch);
        }
        self.batch.clear();
        self.context.clear_kv_cache();
    }

    /// Takes what waits, or waits if nothing is in progress. False when no more can come.
    fn take(&mut self, jobs: &Receiver<Job>) -> bool {
        self.active.retain(|answer| {
            let stays = !answer.out.is_closed();
            if !stays {
                forget(&mut self.context, &mut self.free, answer.sequence);
            }
            stays
        });
        while self.active.is_empty() {
            let job = if self.dirty {
                match jobs.recv_timeout(IDLE) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        // Data and all: a sequence that was only forgotten would still lie in memory.
                        self.context.clear_kv_cache();
                        self.dirty = false;
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return false,
                }
            } else {
                match jobs.recv() {
                    Ok(job) => job,
                    Err(_) => return false,
                }
            };
            self.admit(job);
        }
        while !self.free.is_empty() {
            match jobs.try_recv() {
                Ok(job) => self.admit(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        true
    }

    fn admit(&mut self, job: Job) {
        // There are as many turns as sequences.
        let Some(sequence) = self.free.pop() else {
            let _ = job.out.send(Err(GenerateError::Refused));
            return;
        };
        self.active.push(Answering {
            ids: job.ids,
            fed: 0,
            count: 0,
            max_tokens: job.max_tokens,
            sequence,
            picker: job.picker,
            text: Assembler::new(job.stop),
            out: job.out,
            row: None,
            _turn: job.turn,
        });
    }

    fn step(&mut self) {
        let filled = self.fill();
        self.dirty = true;
        if filled.is_none() || self.context.decode(&mut self.batch).is_err() {
            self.fail();
            return;
        }
        let (context, vocab, free) = (&mut self.context, &self.vocab, &mut self.free);
        self.active.retain_mut(|answer| {
            let Some(row) = answer.row.take() else {
                return true;
            };
            let goes_on = answer.advance(context.get_logits_ith(row), vocab);
            if !goes_on {
                forget(context, free, answer.sequence);
            }
            goes_on
        });
    }

    /// Fills the batch; `None` if the library would not take a token, which its size rules out.
    fn fill(&mut self) -> Option<()> {
        self.batch.clear();
        let pending: Vec<usize> = self.active.iter().map(|answer| answer.ids.len() - answer.fed).collect();
        for (answer, share) in self.active.iter_mut().zip(shares(&pending, STEP_TOKENS)) {
            let end = answer.fed + share;
            let sequence = i32::try_from(answer.sequence).ok()?;
            for at in answer.fed..end {
                let id = i32::try_from(*answer.ids.get(at)?).ok()?;
                let last = at + 1 == answer.ids.len();
                if last {
                    answer.row = Some(self.batch.n_tokens());
                }
                self.batch
                    .add(LlamaToken(id), i32::try_from(at).ok()?, &[sequence], last)
                    .ok()?;
            }
            answer.fed = end;
        }
        Some(())
    }

    /// What is in progress is lost; the next requests find a clean memory.
    fn fail(&mut self) {
        for answer in self.active.drain(..) {
            let _ = answer.out.send(Err(GenerateError::ModelFailed));
            self.free.push(answer.sequence);
        }
        self.batch.clear();
        self.context.clear_kv_cache();
        self.dirty = false;
    }
}

/// Takes a sequence out of the memory.
fn forget(context: &mut LlamaContext<'_>, free: &mut Vec<u32>, sequence: u32) {
    // Whole sequences can always be removed.
    let _ = context.clear_kv_cache_seq(Some(sequence), None, None);
    free.push(sequence);
}

impl Answering {
    /// Chooses and hands out the next token. False when the answer has ended.
    fn advance(&mut self, logits: &[f32], vocab: &LlamaVocab<'_>) -> bool {
        let Some(id) = self.picker.pick(logits, self.ids.len()) else {
            let _ = self.out.send(Err(GenerateError::ModelFailed));
            return false;
        };
        self.count += 1;
        self.ids.push(id);
        let token = LlamaToken(i32::try_from(id).unwrap_or(0));
        let ended = vocab.is_eog(token);
        let full = self.count >= self.max_tokens;
        let bytes = if ended {
            Vec::new()
        } else {
            vocab.token_to_piece(token, false, None)
        };
        let piece = self.text.push(&bytes, ended || full);
        let finish = match (ended || piece.stopped, full) {
            (true, _) => Some(Finish::Stop),
            (false, true) => Some(Finish::Length),
            (false, false) => None,
        };
        let token = Token {
            id,
            text: piece.text,
            finish,
        };
        self.out.send(Ok(token)).is_ok() && finish.is_none()
    }
}
