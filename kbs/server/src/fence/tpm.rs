//! A head in the non-volatile memory of a TPM 2.0: who puts back a disk does not put back the TPM.
//!
//! # Layout
//! Three neighbouring NV indices, read and written with a secret that only the open store yields, without dictionary-attack
//! counter:
//!
//! | index | kind | what |
//! |---|---|---|
//! | `index` | ordinary, 56 bytes | the head: `seq` (u64, big endian), hash |
//! | `index + 1` | counter | goes up by one with each decision, and never down |
//! | `index + 2` | ordinary, 8 bytes, locked after its first write | what the counter stood at for `seq` 0 (u64, big endian, modulo 2^64) |
//!
//! The counter less its start is the least `seq` that the head may have: whoever has the secret can write an older head, and
//! it is refused. The head is written first, so that after a crash it is ahead of the counter, not behind.
//!
//! A TPM's memory wears, and bears some hundred thousand writes. Each decision costs an increment; decisions that come together
//! share the write of the head.
//!
//! # Does not establish
//! Anything against who has the TPM's owner authorisation, and can remove the indices and make them anew.

use std::sync::{Mutex, PoisonError};

use hanzo_root::{TpmToolError, TpmTools};
use zeroize::Zeroizing;

use super::Fence;
use crate::KbsError;
use crate::head::Head;

const HEAD: Area = Area {
    offset: 0,
    size: "56",
    attributes: "authwrite|authread|no_da",
};
const COUNTER: Area = Area {
    offset: 1,
    size: "8",
    attributes: "authwrite|authread|no_da|nt=counter",
};
const START: Area = Area {
    offset: 2,
    size: "8",
    attributes: "authwrite|authread|no_da|writedefine",
};
/// More than a group of decisions; a counter that is further behind belongs to another store.
const STEPS_MAX: u64 = 4096;

/// One NV index.
struct Area {
    offset: u32,
    size: &'static str,
    attributes: &'static str,
}

pub(super) struct TpmFence {
    tcti: String,
    index: u32,
    /// `hex:` and 64 digits: how tpm2-tools take a secret of 32 bytes. It goes over a pipe.
    secret: Zeroizing<String>,
    /// What the counter says, once it was read; forgotten after every failure.
    least: Mutex<Option<u64>>,
}

impl TpmFence {
    pub(super) fn new(tcti: &str, index: u32, secret: &Zeroizing<[u8; 32]>) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(80));
        text.push_str("hex:");
        secret.iter().for_each(|byte| {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        });
        Self {
            tcti: tcti.to_owned(),
            index,
            secret: text,
            least: Mutex::new(None),
        }
    }

    fn fail(&self, program: &'static str, detail: impl Into<String>) -> KbsError {
        KbsError::Tpm {
            program,
            index: self.name(&HEAD),
            detail: detail.into(),
        }
    }

    fn failed(&self, e: TpmToolError) -> KbsError {
        self.fail(e.program, e.detail)
    }

    fn name(&self, area: &Area) -> String {
        format!("{:#010x}", self.index.saturating_add(area.offset))
    }

    fn tools(&self) -> Result<TpmTools, KbsError> {
        TpmTools::new(&self.tcti).map_err(|e| self.failed(e))
    }

    /// Runs a program on one area with the area's own authorisation.
    fn on(
        &self,
        tools: &TpmTools,
        program: &'static str,
        area: &Area,
        more: &[&str],
    ) -> Result<Zeroizing<Vec<u8>>, KbsError> {
        let name = self.name(area);
        let arguments = [&[name.as_str(), "-C", &name, "-P", "file:-"], more].concat();
        let output = tools.run(program, &arguments, self.secret.as_bytes());
        output.map_err(|e| self.failed(e))
    }

    fn are_defined(&self, tools: &TpmTools) -> Result<[bool; 3], KbsError> {
        let listed = tools.run("tpm2_getcap", &["handles-nv-index"], b"");
        let listed = listed.map_err(|e| self.failed(e))?;
        let text = String::from_utf8_lossy(&listed).to_lowercase();
        // Handles stand one a line, with or without leading zeroes.
        let there: Vec<u32> = text
            .split(|c: char| !c.is_ascii_hexdigit() && c != 'x')
            .filter_map(|word| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok())
            .collect();
        Ok([&HEAD, &COUNTER, &START].map(|area| there.contains(&self.index.saturating_add(area.offset))))
    }

    fn number(&self, tools: &TpmTools, area: &Area) -> Result<u64, KbsError> {
        let bytes = self.on(tools, "tpm2_nvread", area, &["-s", area.size])?;
        let bytes = bytes.as_slice().try_into();
        let bytes = bytes.map_err(|_| self.fail("tpm2_nvread", "expected 8 bytes"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// The least `seq` that a head may have.
    fn least(&self, tools: &TpmTools) -> Result<u64, KbsError> {
        let start = self.number(tools, &START)?;
        Ok(self.number(tools, &COUNTER)?.wrapping_sub(start))
    }

    /// Makes the three areas so that the counter says `seq`.
    fn define(&self, tools: &TpmTools, seq: u64) -> Result<(), KbsError> {
        // What is left of them says nothing any more.
        for (area, there) in [HEAD, COUNTER, START].iter().zip(self.are_defined(tools)?) {
            if there {
                let removed = tools.run("tpm2_nvundefine", &[&self.name(area), "-C", "o"], b"");
                removed.map_err(|e| self.failed(e))?;
            }
        }
        // The head last: without it there never was anything.
        for area in [&COUNTER, &START, &HEAD] {
            let name = self.name(area);
            let arguments = [&name, "-C", "o", "-s", area.size, "-a", area.attributes, "-p", "file:-"];
            let defined = tools.run("tpm2_nvdefine", &arguments, self.secret.as_bytes());
            defined.map_err(|e| self.failed(e))?;
            match area.offset {
                // It starts above all counters that this TPM ever had.
                1 => drop(self.on(tools, "tpm2_nvincrement", area, &[])?),
                2 => {
                    let start = self.number(tools, &COUNTER)?.wrapping_sub(seq);
                    self.put(tools, area, &start.to_be_bytes())?;
                    self.on(tools, "tpm2_nvwritelock", area, &[])?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn put(&self, tools: &TpmTools, area: &Area, bytes: &[u8]) -> Result<(), KbsError> {
        // The secret takes the pipe; what is written is none and goes through a file.
        tools.write("area", bytes).map_err(|e| self.failed(e))?;
        self.on(tools, "tpm2_nvwrite", area, &["-i", "area"]).map(drop)
    }

    fn write_from(&self, known: Option<u64>, head: Head) -> Result<u64, KbsError> {
        let tools = self.tools()?;
        let mut least = match known {
            Some(least) => least,
            None => {
                if self.are_defined(&tools)? != [true; 3] {
                    self.define(&tools, head.seq)?;
                }
                self.least(&tools)?
            }
        };
        if head.seq < least || head.seq.saturating_sub(least) > STEPS_MAX {
            // The operator accepted an older store, or another one: no broker serves one before that.
            self.define(&tools, head.seq)?;
            least = self.least(&tools)?;
        }
        self.put(&tools, &HEAD, &head.to_bytes())?;
        while least < head.seq {
            self.on(&tools, "tpm2_nvincrement", &COUNTER, &[])?;
            least = least.saturating_add(1);
        }
        Ok(least)
    }
}

impl Fence for TpmFence {
    fn place(&self) -> String {
        format!("TPM index {}", self.name(&HEAD))
    }

    fn read(&self) -> Result<Option<Head>, KbsError> {
        let tools = self.tools()?;
        match self.are_defined(&tools)? {
            [true, true, true] => {}
            [false, _, _] => return Ok(None),
            _ => {
                let detail =
                    "the counter beside the head is gone: accept the store as it is with `hanzo-kbs accept-head`";
                return Err(self.fail("tpm2_getcap", detail));
            }
        }
        let bytes = self.on(&tools, "tpm2_nvread", &HEAD, &["-s", HEAD.size])?;
        let head = Head::from_bytes(&bytes).ok_or_else(|| self.fail("tpm2_nvread", "expected 56 bytes"))?;
        let least = self.least(&tools)?;
        if head.seq < least {
            return Err(KbsError::FenceSetBack {
                index: self.name(&HEAD),
                expected: least,
                got: head.seq,
            });
        }
        Ok(Some(head))
    }

    fn write(&self, head: Head) -> Result<(), KbsError> {
        let mut least = self.least.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever happens halfway, the TPM is asked again.
        let known = least.take();
        *least = Some(self.write_from(known, head)?);
        Ok(())
    }
}
