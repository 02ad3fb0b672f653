//! Policies to start from: every key with what it means, and nothing admitted until references are filled in.

use crate::tier::PrivacyTier;

/// Which evidence a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// SEV-SNP guests.
    Snp,
    /// TDX guests.
    Tdx,
    /// Machines with a TPM.
    Tpm,
    /// SEV-SNP guests under a paravisor.
    AzSnpVtpm,
    /// TDX guests under a paravisor.
    AzTdxVtpm,
    /// SEV-SNP guests with GPUs.
    SnpGpu,
    /// TDX guests with GPUs.
    TdxGpu,
    /// All of them.
    All,
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 8] = [
        Self::Snp,
        Self::Tdx,
        Self::Tpm,
        Self::AzSnpVtpm,
        Self::AzTdxVtpm,
        Self::SnpGpu,
        Self::TdxGpu,
        Self::All,
    ];

    /// `snp`, `tdx`, `tpm`, `az-snp-vtpm`, `az-tdx-vtpm`, `snp-gpu`, `tdx-gpu` or `all`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
            Self::Tpm => "tpm",
            Self::AzSnpVtpm => "az-snp-vtpm",
            Self::AzTdxVtpm => "az-tdx-vtpm",
            Self::SnpGpu => "snp-gpu",
            Self::TdxGpu => "tdx-gpu",
            Self::All => "all",
        }
    }

    /// The template of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    fn minimum(self) -> PrivacyTier {
        match self {
            Self::Tpm => PrivacyTier::AtRest,
            Self::SnpGpu | Self::TdxGpu => PrivacyTier::GpuCc,
            Self::Snp | Self::Tdx | Self::AzSnpVtpm | Self::AzTdxVtpm | Self::All => PrivacyTier::CpuTee,
        }
    }

    fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Snp => &[SNP],
            Self::Tdx => &[TDX],
            Self::Tpm => &[TPM],
            Self::AzSnpVtpm => &[SNP, TPM],
            Self::AzTdxVtpm => &[TDX, TPM],
            Self::SnpGpu => &[SNP, GPU],
            Self::TdxGpu => &[TDX, GPU],
            Self::All => &[SNP, TDX, TPM, GPU],
        }
    }
}

/// A policy file for `kind` with every key of its tables, each explained. It admits nothing above tier 0: whoever uses it
/// fills in references, and floors where the vendor publishes them.
pub fn template(kind: Template) -> String {
    let mut out = HEAD.replace("MINIMUM", &kind.minimum().number().to_string());
    for table in kind.tables() {
        out.push('\n');
        out.push_str(table);
    }
    out
}

const HEAD: &str = r#"# Appraisal policy, version 2: what you ask of a guest's evidence. Within a table every key is written out.
# Evidence of a kind that has no table here reaches nothing above tier 0.
version = 2
minimum_tier = MINIMUM           # 0 Open, 1 AtRest (TPM), 2 CpuTee (SNP, TDX), 3 GpuCc, 4 GpuTeeIo
max_age_s = 3600           # seconds until the guest is attested again, at most 86400
revocation = "required"    # or "accept-missing": go on without the vendor's revocation list
"#;

const SNP: &str = include_str!("template/snp.toml");
const TDX: &str = include_str!("template/tdx.toml");
const TPM: &str = include_str!("template/tpm.toml");
const GPU: &str = include_str!("template/gpu.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::AppraisalPolicy;

    #[test]
    fn each_template_is_a_policy_and_admits_no_image() {
        for kind in Template::ALL {
            let text = template(kind);
            let policy = AppraisalPolicy::from_toml(text.as_bytes()).unwrap_or_else(|e| panic!("{}: {e}", kind.name()));
            assert_eq!(policy.minimum_tier, kind.minimum());
            assert!(
                policy
                    .snp
                    .is_none_or(|t| t.references.is_empty() && t.paravisors.is_empty())
            );
            assert!(
                policy
                    .tdx
                    .is_none_or(|t| t.references.is_empty() && t.paravisors.is_empty())
            );
            assert!(policy.tpm.is_none_or(|t| t.references.is_empty()));
            assert_eq!(Template::from_name(kind.name()), Some(kind));
            let fits = |l: &str| (l.len() <= 130 || l.starts_with("#: ")) && !l.ends_with(' ');
            assert!(text.lines().all(fits), "{}", kind.name());
        }
        assert_eq!(Template::from_name("sgx"), None);
    }

    #[test]
    fn what_the_templates_show_as_comments_is_right_too() {
        for kind in Template::ALL {
            // A comment that starts with `#: ` is a piece of policy to be switched on in place of the line named by it.
            let mut replaced = Vec::new();
            let text: String = template(kind)
                .lines()
                .map(|line| match line.strip_prefix("#: ") {
                    Some(shown) => format!("{shown}\n"),
                    None => format!("{line}\n"),
                })
                .collect();
            let text: String = text
                .lines()
                .filter(|line| {
                    let empty = matches!(*line, "references = []" | "paravisors = []" | "tcb_floor = {}");
                    if empty {
                        replaced.push((*line).to_owned());
                    }
                    !empty
                })
                .map(|line| format!("{line}\n"))
                .collect();
            let policy = AppraisalPolicy::from_toml(text.as_bytes()).unwrap_or_else(|e| panic!("{}: {e}", kind.name()));
            assert!(
                policy
                    .snp
                    .is_none_or(|t| t.references.len() == 1 && t.tcb_floor.genoa.is_some())
            );
            assert!(
                policy
                    .tdx
                    .is_none_or(|t| t.references.len() == 1 && t.paravisors.len() == 1)
            );
            assert!(policy.tpm.is_none_or(|t| t.references.len() == 1));
            assert!(!replaced.is_empty());
        }
    }
}
