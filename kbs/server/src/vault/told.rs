//! What the audit lines tell of KEKs and destroyed secrets, and whether the tables say the same.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_store::Tx;
use hanzo_vault::{TenantKek, shredded_secret};

use crate::KbsError;
use crate::audit::{Line, broken};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    Retired,
    Shredded,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Retired => "retired",
            Self::Shredded => "shredded",
        }
    }
}

/// Collects what the lines tell, in their order.
#[derive(Default)]
pub(crate) struct ToldKeks {
    keks: BTreeMap<(String, u64), State>,
    destroyed: BTreeSet<(String, u64)>,
}

impl ToldKeks {
    /// Takes a line into account; `keys` are the key versions told of before it. Returns those that it revokes.
    pub(crate) fn hear<'k>(
        &mut self,
        line: &Line,
        keys: impl Iterator<Item = &'k (String, u64)>,
    ) -> Vec<(String, u64)> {
        let tenant = &line.key_id;
        match line.action.as_str() {
            "new-kek" => {
                self.keks.insert((tenant.clone(), line.key_version), State::Live);
            }
            "retire-kek" => self.end(tenant, State::Retired, |version| version < line.key_version),
            "shred-tenant" => {
                self.end(tenant, State::Shredded, |_| true);
                let prefix = format!("{tenant}/");
                let theirs: Vec<_> = keys
                    .filter(|(key_id, _)| key_id.starts_with(&prefix))
                    .cloned()
                    .collect();
                self.destroyed.extend(theirs.iter().cloned());
                return theirs;
            }
            "shred-key" => {
                let key = (line.key_id.clone(), line.key_version);
                self.destroyed.insert(key.clone());
                return vec![key];
            }
            _ => {}
        }
        Vec::new()
    }

    fn end(&mut self, tenant: &str, state: State, which: impl Fn(u64) -> bool) {
        for ((of, version), told) in &mut self.keks {
            if of == tenant && *told == State::Live && which(*version) {
                *told = state;
            }
        }
    }

    /// Compares with the tables.
    pub(crate) fn compare(&self, tx: &Tx<'_>) -> Result<(), KbsError> {
        let rows = tx.query("SELECT tenant, kek_version, state, wrapped FROM keks", &[])?;
        if rows.len() != self.keks.len() {
            return Err(broken(format!(
                "keks: {} are stored, the decisions tell of {}",
                rows.len(),
                self.keks.len()
            )));
        }
        for row in &rows {
            let (tenant, version) = (row.text(0)?.to_owned(), row.unsigned(1)?);
            let told = self.keks.get(&(tenant.clone(), version));
            let gone = row.blob(3)? == TenantKek::shredded();
            let holds = told.is_some_and(|told| told.name() == row.text(2).unwrap_or_default())
                && gone == (told != Some(&State::Live));
            if !holds {
                return Err(broken(format!(
                    "KEK version {version} of tenant {tenant} is not in the state that the decisions tell of"
                )));
            }
        }
        for (key_id, version) in &self.destroyed {
            let row = tx.query_opt(
                "SELECT sealed_dek FROM keys WHERE key_id = ?1 AND key_version = ?2",
                &[key_id.into(), (*version as i64).into()],
            )?;
            let sealed = row.as_ref().map(|row| row.blob(0)).transpose()?;
            if sealed.is_none_or(|sealed| sealed != shredded_secret(sealed.len())) {
                return Err(broken(format!(
                    "key {key_id} version {version} was destroyed, and is there again"
                )));
            }
        }
        Ok(())
    }
}
