//! The process that owns QEMU and swtpm. When it ends, however it ends, they do.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use hanzo_image::predict;
use hanzo_image::run::{Accelerator, Machine, Word, run_and_tell};
use tokio::sync::oneshot;

/// A machine, and what it must measure.
#[derive(Debug, Args)]
pub(crate) struct VmRole {
    /// The image
    #[arg(long)]
    image: PathBuf,
    /// A sealed model. Repeated, in the order of the configuration
    #[arg(long)]
    pack: Vec<PathBuf>,
    /// The software TPM
    #[arg(long)]
    tpm: PathBuf,
    /// Where the console is written
    #[arg(long)]
    console: PathBuf,
    /// Port of loopback that leads to the guest's
    #[arg(long)]
    port: u16,
    /// MiB
    #[arg(long)]
    memory: u32,
    /// Processors
    #[arg(long)]
    processors: u32,
    /// What executes the guest
    #[arg(long, value_enum)]
    accelerator: Accelerator,
    /// What was predicted
    #[arg(long)]
    prediction: PathBuf,
}

/// Runs the machine until it ends or `stop` does; `on_ready` is told where it serves.
pub(crate) async fn run(
    role: VmRole,
    stop: impl Future<Output = ()>,
    on_ready: impl FnOnce(String) + Send + 'static,
) -> Result<(), String> {
    let stopping = Arc::new(AtomicBool::new(false));
    let (done, ended) = oneshot::channel();
    // A thread of its own: the kernel ends QEMU with the thread that started it.
    let thread = std::thread::spawn({
        let stopping = stopping.clone();
        // Nobody waits any more only when the process ends.
        move || drop(done.send(machine(role, &stopping, on_ready)))
    });
    tokio::pin!(stop, ended);
    let outcome = tokio::select! {
        outcome = &mut ended => outcome,
        () = &mut stop => {
            stopping.store(true, Ordering::Relaxed);
            // QEMU, swtpm and their files are gone when the thread is.
            let _ = ended.await;
            return Ok(());
        }
    };
    if thread.join().is_err() {
        return Err("the machine's thread panicked".into());
    }
    outcome.unwrap_or_else(|_| Err("the machine's thread ended".into()))
}

fn machine(role: VmRole, stopping: &AtomicBool, on_ready: impl FnOnce(String)) -> Result<(), String> {
    let shown = |e: hanzo_image::ImageError| format!("{e} [{}]", e.code());
    let prediction = predict::read(&role.prediction).map_err(shown)?;
    let machine = Machine {
        image: role.image,
        console: role.console,
        port: role.port,
        links: None,
        memory_mib: role.memory,
        processors: role.processors,
        accelerator: role.accelerator,
        packs: role.pack,
        tpm: Some(role.tpm),
    };
    let mut on_ready = Some(on_ready);
    let mut on_word = |report: &hanzo_image::run::Report| {
        if report.word != Word::Serving {
            return false;
        }
        eprintln!("{report}");
        if let Some(tell) = on_ready.take() {
            tell(format!("127.0.0.1:{}", machine.port));
        }
        true
    };
    let report = run_and_tell(&machine, Some(&prediction), &mut on_word, stopping, &|what| {
        eprintln!("{what}")
    })
    .map_err(shown)?;
    match report.word {
        Word::Refused { reason } => Err(reason),
        Word::Serving => Err("the machine ended".into()),
    }
}
