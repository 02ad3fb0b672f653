//! Launch digests of an IGVM file.

use hanzo_attestation::digest::Digest384;
use serde::{Deserialize, Serialize};

use super::IgvmError;
use super::read::{Directive, Igvm, PageContents, PageFlags, Platform};
use crate::firmware::PAGE_BYTES;
use crate::snp::{LaunchContext, PageKind, VMSA_GPA};
use crate::tdx::Stream;

/// CR0 of the first processor as KVM sets it before it measures: protected mode, extension type, numeric error.
const KVM_CR0: u64 = 0x31;
const CR0_AT: usize = 0x158;

/// Who loads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// QEMU with KVM, which measures one register page, last, at its own address: a file that says otherwise is refused,
    /// because the digest would be another one.
    Kvm,
    /// A loader that does what the file says, in its order.
    AsWritten,
}

/// How a loader adds pages that the file says are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroPages {
    /// As normal pages, as the format's text asks.
    Normal,
    /// As the processor's own zero pages.
    Native,
}

impl Igvm<'_> {
    /// The SNP launch digest.
    ///
    /// # Errors
    /// [`IgvmError::Platform`]; [`IgvmError::Kvm`] if `loader` is KVM and would measure something else.
    pub fn snp_digest(&self, loader: Loader, zeros: ZeroPages) -> Result<Digest384, IgvmError> {
        let mut context = LaunchContext::default();
        let mut has_registers = false;
        for directive in self.directives(Platform::SevSnp)? {
            if loader == Loader::Kvm {
                check_kvm(&directive, has_registers)?;
            }
            match directive {
                Directive::Pages {
                    gpa,
                    bytes,
                    flags,
                    contents,
                    ..
                } => match (flags, contents) {
                    (PageFlags::Shared, _) => {}
                    (_, PageContents::Secrets) => context.pages(PageKind::Secrets, gpa, bytes),
                    (_, PageContents::Cpuid) => context.pages(PageKind::Cpuid, gpa, bytes),
                    (PageFlags::Unmeasured, _) => context.pages(PageKind::Unmeasured, gpa, bytes),
                    (PageFlags::Measured, PageContents::Bytes(image)) => context.image(gpa, image),
                    (PageFlags::Measured, PageContents::Zeros) if zeros == ZeroPages::Native => {
                        context.pages(PageKind::Zero, gpa, bytes);
                    }
                    (PageFlags::Measured, PageContents::Zeros) => {
                        let contents = Digest384::of(&[0; PAGE_BYTES]);
                        for page in (0..bytes).step_by(PAGE_BYTES) {
                            context.page(PageKind::Normal, gpa.wrapping_add(page), &contents);
                        }
                    }
                },
                Directive::Parameters { gpa, bytes, .. } => context.pages(PageKind::Unmeasured, gpa, bytes),
                Directive::Registers { gpa, page, .. } => {
                    has_registers = true;
                    context.page(PageKind::Vmsa, gpa, &Digest384::of(page));
                }
            }
        }
        Ok(context.digest())
    }

    /// MRTD. Pages are added and measured one by one.
    ///
    /// # Errors
    /// [`IgvmError::Platform`]; [`IgvmError::Value`] for a secrets or CPUID page, which TDX has not.
    pub fn mrtd(&self) -> Result<Digest384, IgvmError> {
        let mut stream = Stream::default();
        for directive in self.directives(Platform::Tdx)? {
            let (gpa, bytes, measured) = match directive {
                Directive::Pages {
                    at,
                    gpa,
                    bytes,
                    flags,
                    contents,
                } => match (flags, contents) {
                    (PageFlags::Shared, _) => continue,
                    (_, PageContents::Secrets | PageContents::Cpuid) => {
                        let what = "page data type of a TDX page";
                        return Err(IgvmError::Value { what, at, got: 1 });
                    }
                    (PageFlags::Unmeasured, _) => (gpa, bytes, None),
                    (PageFlags::Measured, PageContents::Bytes(image)) => (gpa, bytes, Some(image)),
                    (PageFlags::Measured, PageContents::Zeros) => (gpa, bytes, Some(&[][..])),
                },
                Directive::Parameters { gpa, bytes, .. } => (gpa, bytes, None),
                // A TD's processors start with registers that no VMM chooses.
                Directive::Registers { .. } => continue,
            };
            for page in (0..bytes).step_by(PAGE_BYTES) {
                stream.add(gpa.wrapping_add(page));
                if let Some(contents) = measured {
                    stream.extend(gpa, page, contents);
                }
            }
        }
        Ok(stream.finish())
    }
}

/// The rules of QEMU with KVM.
fn check_kvm(directive: &Directive<'_>, has_registers: bool) -> Result<(), IgvmError> {
    let (at, what) = match *directive {
        Directive::Pages {
            flags: PageFlags::Shared,
            ..
        } => return Ok(()),
        Directive::Pages { at, .. } | Directive::Parameters { at, .. } if has_registers => {
            (at, "a page after the register page, which KVM measures last")
        }
        Directive::Registers { at, .. } if has_registers => (at, "a second register page"),
        Directive::Registers { at, index, .. } if index != 0 => {
            (at, "a register page of another processor than the first")
        }
        Directive::Registers { at, gpa, .. } if gpa != VMSA_GPA => {
            (at, "a register page at another address than 0xfffffffff000")
        }
        Directive::Registers { at, page, .. } => {
            let cr0 = page.get(CR0_AT..).and_then(|rest| rest.first_chunk()).copied();
            if cr0.map(u64::from_le_bytes) == Some(KVM_CR0) {
                return Ok(());
            }
            (at, "CR0 other than 0x31, which KVM sets")
        }
        _ => return Ok(()),
    };
    Err(IgvmError::Kvm { at, what })
}
