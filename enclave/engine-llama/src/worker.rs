//! The thread that computes: it alone holds the library's context.
//!
//! Each answer in progress has a sequence of its own in the key-value memory. A step takes a token of every answer that is
//! being written and a share of every prompt that is being read, computes them together, chooses a token where there are
//! logits, and hands it out. Between steps answers end, go away and begin.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use hanzo_engine_process::{Assembler, Finish, GenerateError, Logprob, Picker, Token, Turn, likely};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::LlamaVocab;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::adapter::Adapter;
use crate::batch::{STEP_TOKENS, shares};
use crate::grammar::Grammar;
use crate::load::{context_params, library};
use crate::tools::MARKS;

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
    /// Keeps the answer to a schema.
    pub grammar: Option<Grammar>,
    /// Each token's log probability, with those of so many others.
    pub logprobs: Option<usize>,
    /// Marks of tool calls are text.
    pub marks: bool,
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
    grammar: Option<Grammar>,
    logprobs: Option<usize>,
    marks: bool,
    text: Assembler,
    out: UnboundedSender<Result<Token, GenerateError>>,
    /// Where in the step its logits are.
    row: Option<i32>,
    _turn: Turn,
}

/// What tokens are as text.
struct Words<'model> {
    vocab: LlamaVocab<'model>,
    /// Control tokens that mark tool calls.
    marks: Vec<LlamaToken>,
}

pub(crate) struct Worker<'model> {
    context: LlamaContext<'model>,
    words: Words<'model>,
    batch: LlamaBatch<'static>,
    active: Vec<Answering>,
    /// Sequences nobody uses.
    free: Vec<u32>,
    /// Keys and values of past answers lie in the memory.
    dirty: bool,
}

impl Worker<'_> {
    /// Computes until no more jobs can come. Says through `ready` whether it could begin.
    pub(crate) fn run(
        (model, mut adapter): (&LlamaModel, Option<Adapter>),
        shape: Shape,
        jobs: Receiver<Job>,
        ready: oneshot::Sender<bool>,
    ) {
        let Some(mut worker) = Worker::begin(model, adapter.as_mut(), shape) else {
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

    fn begin<'model>(model: &'model LlamaModel, adapter: Option<&mut Adapter>, shape: Shape) -> Option<Worker<'model>> {
        let params = context_params(shape.context_tokens, shape.streams, shape.threads)?;
        let mut context = library(|library| model.new_context(library, params))?.ok()?;
        if adapter.is_some_and(|adapter| !adapter.put_on(&mut context)) {
            return None;
        }
        Some(Worker {
            context,
            words: Words::of(model),
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
            grammar: job.grammar,
            logprobs: job.logprobs,
            marks: job.marks,
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
        let (context, words, free) = (&mut self.context, &self.words, &mut self.free);
        self.active.retain_mut(|answer| {
            let Some(row) = answer.row.take() else {
                return true;
            };
            let goes_on = answer.advance(context.get_logits_ith(row), words);
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

impl<'model> Words<'model> {
    fn of(model: &'model LlamaModel) -> Self {
        let vocab = model.vocab();
        let marks = MARKS
            .iter()
            .filter_map(|mark| match vocab.tokenize(mark.as_bytes(), false, true).as_slice() {
                [one] if vocab.is_control(*one) => Some(*one),
                _ => None,
            });
        let marks = marks.collect();
        Self { vocab, marks }
    }

    /// The bytes of a token in an answer.
    fn piece(&self, token: LlamaToken, marks: bool) -> Vec<u8> {
        self.vocab
            .token_to_piece(token, marks && self.marks.contains(&token), None)
    }

    /// The bytes of a token by itself, whatever it is.
    fn name(&self, id: u32) -> Vec<u8> {
        i32::try_from(id).map_or_else(
            |_| Vec::new(),
            |id| self.vocab.token_to_piece(LlamaToken(id), true, None),
        )
    }
}

impl Answering {
    /// Chooses and hands out the next token. False when the answer has ended.
    fn advance(&mut self, logits: &[f32], words: &Words<'_>) -> bool {
        match self.next(logits, words) {
            Ok(token) => {
                let goes_on = token.finish.is_none();
                self.out.send(Ok(token)).is_ok() && goes_on
            }
            Err(error) => {
                let _ = self.out.send(Err(error));
                false
            }
        }
    }

    fn next(&mut self, logits: &[f32], words: &Words<'_>) -> Result<Token, GenerateError> {
        let position = self.ids.len();
        let picked = match &mut self.grammar {
            None => self.picker.pick(logits, position),
            Some(grammar) => {
                let mut allowed = logits.to_vec();
                grammar.mask(&mut allowed)?;
                self.picker.pick(&allowed, position)
            }
        };
        let id = picked.ok_or(GenerateError::ModelFailed)?;
        let whole = match &mut self.grammar {
            None => false,
            Some(grammar) => grammar.take(id)?,
        };
        self.count += 1;
        self.ids.push(id);
        let token = LlamaToken(i32::try_from(id).unwrap_or(0));
        let is_end = words.vocab.is_eog(token);
        let ended = is_end || whole;
        let full = self.count >= self.max_tokens;
        let bytes = match is_end {
            true => Vec::new(),
            false => words.piece(token, self.marks),
        };
        let piece = self.text.push(&bytes, ended || full);
        let finish = match (ended || piece.stop.is_some(), full) {
            (true, _) => Some(Finish::Stop),
            (false, true) => Some(Finish::Length),
            (false, false) => None,
        };
        let logprob = match self.logprobs {
            Some(count) if !is_end => Some(logprob(logits, id, count, words)?),
            _ => None,
        };
        Ok(Token {
            id,
            text: piece.text,
            finish,
            stop: piece.stop,
            logprob,
        })
    }
}

/// Of the model's own choice, before a schema takes tokens out of it.
fn logprob(logits: &[f32], id: u32, count: usize, words: &Words<'_>) -> Result<Logprob, GenerateError> {
    let (logprob, top) = likely(logits, id, count).ok_or(GenerateError::ModelFailed)?;
    Ok(Logprob {
        bytes: words.name(id),
        logprob,
        top: top.iter().map(|one| (words.name(one.id), one.logprob)).collect(),
    })
}
