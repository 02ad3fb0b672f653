//! What a tenant puts over all its keys: a resource policy (one Rego module) and reference values for it; and the releases
//! that its keys' policies name by their line.
//!
//! # Layout
//! Table `tenant_documents`: every version of both, for ever; the newest counts. A document is named like a key,
//! `<tenant>/coco/resource-policy` and `<tenant>/coco/reference-values`, so that admin requests, proposals and audit lines
//! name it as they name keys; release bundles are in table `releases`, as `<tenant>/release/<line>`. A key of the same name is another thing in another table.

use hanzo_attestation::Digest384;
use hanzo_attestation::name::{KeyId, Name, NameError};
use hanzo_policy::release::{ReleaseBundle, ReleaseError};
use hanzo_rego::{Module, RegoError};
use hanzo_store::{StoreError, Tx};
use hanzo_vault::{ReferenceError, TenantPolicy, check_reference};

use crate::KbsError;

/// What a change of a release is called.
pub(crate) const SET_RELEASE: &str = "set-release";

/// Which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    ResourcePolicy,
    ReferenceValues,
    /// The release bundle of this line.
    Release(Name),
}

/// Why a document is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error(
        "document {key_id}: expected <tenant>/coco/resource-policy, <tenant>/coco/reference-values or <tenant>/release/<line>: \
         a tenant has no other"
    )]
    Name { key_id: KeyId },
    #[error("resource policy: {0}")]
    Rego(#[from] RegoError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("reference values: expected the canonical form (RFC 8785)")]
    Canonical,
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error("release {line}: no key of this tenant has a policy that names this line: put such a policy first")]
    UnusedRelease { line: Name },
}

impl DocumentError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "kbs.document.name",
            Self::Rego(e) => e.code(),
            Self::Reference(e) => e.code(),
            Self::Canonical => "kbs.reference.value",
            Self::Release(e) => e.code(),
            Self::UnusedRelease { .. } => "kbs.release.unused",
        }
    }
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) text: String,
}

impl Document {
    /// Those of which a tenant has one.
    const ALL: [Self; 2] = [Self::ResourcePolicy, Self::ReferenceValues];

    fn kind(&self) -> &str {
        match self {
            Self::ResourcePolicy => "resource-policy",
            Self::ReferenceValues => "reference-values",
            Self::Release(line) => line.as_str(),
        }
    }

    /// What a change of it is called in requests and in the audit chain.
    pub(crate) fn action(&self) -> &'static str {
        match self {
            Self::ResourcePolicy => "set-resource-policy",
            Self::ReferenceValues => "set-reference-values",
            Self::Release(_) => SET_RELEASE,
        }
    }

    /// Its name, for a tenant.
    pub(crate) fn of_tenant(&self, tenant: &Name) -> Result<KeyId, NameError> {
        let folder = match self {
            Self::Release(_) => "release",
            _ => "coco",
        };
        KeyId::new(&format!("{tenant}/{folder}/{}", self.kind()))
    }

    /// Reads a name.
    pub(crate) fn named(key_id: &KeyId) -> Result<Self, DocumentError> {
        let id = key_id.to_string();
        let rest = id.split_once('/').map(|(_, rest)| rest).unwrap_or_default();
        if let Some(Ok(line)) = rest.strip_prefix("release/").map(Name::new) {
            return Ok(Self::Release(line));
        }
        Self::ALL
            .into_iter()
            .find(|document| rest.strip_prefix("coco/") == Some(document.kind()))
            .ok_or_else(|| DocumentError::Name { key_id: key_id.clone() })
    }

    /// Checks a text that is to be stored.
    pub(crate) fn check(&self, text: &str) -> Result<(), DocumentError> {
        match self {
            Self::ResourcePolicy => Module::parse(text).map(drop).map_err(DocumentError::from),
            Self::ReferenceValues => match check_reference(text.as_bytes())?.1 == text {
                true => Ok(()),
                false => Err(DocumentError::Canonical),
            },
            Self::Release(_) => ReleaseBundle::parse(text.as_bytes())
                .map(drop)
                .map_err(DocumentError::from),
        }
    }
}

/// The newest version of a tenant's document.
pub(crate) fn newest(tx: &Tx<'_>, tenant: &Name, document: &Document) -> Result<Option<Stored>, StoreError> {
    let sql = match document {
        Document::Release(_) => {
            "SELECT version, text FROM releases WHERE tenant = ?1 AND line = ?2 ORDER BY version DESC LIMIT 1"
        }
        _ => "SELECT version, text FROM tenant_documents WHERE tenant = ?1 AND kind = ?2 ORDER BY version DESC LIMIT 1",
    };
    tx.query_opt(sql, &[tenant.as_str().into(), document.kind().into()])?
        .map(|row| {
            Ok(Stored {
                version: row.unsigned(0)?,
                text: row.text(1)?.to_owned(),
            })
        })
        .transpose()
}

/// Stores the next version.
pub(crate) fn put(tx: &Tx<'_>, tenant: &Name, document: &Document, version: u64, text: &str) -> Result<(), StoreError> {
    let sql = match document {
        Document::Release(_) => "INSERT INTO releases (tenant, line, version, text) VALUES (?1, ?2, ?3, ?4)",
        _ => "INSERT INTO tenant_documents (tenant, kind, version, text) VALUES (?1, ?2, ?3, ?4)",
    };
    let values = [
        tenant.as_str().into(),
        document.kind().into(),
        (version as i64).into(),
        text.into(),
    ];
    tx.execute(sql, &values).map(drop)
}

/// What every release of this tenant's keys must pass, read in the transaction that decides; `None` without a resource
/// policy, when nothing looks at the reference values either.
pub(crate) fn policy(tx: &Tx<'_>, tenant: &Name) -> Result<Option<TenantPolicy>, KbsError> {
    let Some(module) = newest(tx, tenant, &Document::ResourcePolicy)? else {
        return Ok(None);
    };
    let reference = match newest(tx, tenant, &Document::ReferenceValues)? {
        Some(values) => serde_json::from_str(&values.text).map_err(|_| KbsError::Stored {
            what: "reference values",
        })?,
        None => serde_json::json!({}),
    };
    Ok(Some(TenantPolicy {
        rego: module.text,
        reference,
    }))
}

/// Every stored version: name, version, SHA-384 of the text. For the replay.
pub(crate) fn all(tx: &Tx<'_>) -> Result<Vec<(String, u64, Digest384)>, StoreError> {
    let sql = "SELECT tenant || '/coco/' || kind, version, text FROM tenant_documents
        UNION ALL SELECT tenant || '/release/' || line, version, text FROM releases";
    tx.query(sql, &[])?
        .iter()
        .map(|row| {
            Ok((
                row.text(0)?.to_owned(),
                row.unsigned(1)?,
                Digest384::of(row.text(2)?.as_bytes()),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_one_name() {
        let tenant = Name::new("acme").unwrap();
        for document in Document::ALL {
            let name = document.of_tenant(&tenant).unwrap();
            assert_eq!(Document::named(&name).unwrap(), document);
        }
        let release = Document::Release(Name::new("appliance").unwrap());
        let name = release.of_tenant(&tenant).unwrap();
        assert_eq!(
            (name.to_string().as_str(), Document::named(&name).unwrap()),
            ("acme/release/appliance", release)
        );
        for other in [
            "acme/coco/attestation-policy",
            "acme/key/resource-policy",
            "coco/resource-policy/x",
        ] {
            let refused = Document::named(&KeyId::new(other).unwrap()).unwrap_err();
            assert_eq!(refused.code(), "kbs.document.name");
        }
    }

    #[test]
    fn a_document_is_checked_before_it_is_stored() {
        let code = |document: &Document, text: &str| document.check(text).map_err(|e| e.code());
        let (policy, values) = (&Document::ResourcePolicy, &Document::ReferenceValues);
        assert_eq!(code(policy, "package policy\nallow := true"), Ok(()));
        assert_eq!(code(policy, "package policy\nallowed := true"), Err("rego.no_rule"));
        assert_eq!(code(values, r#"{"a":["1",2,true],"b":"x"}"#), Ok(()));
        for bad in [
            r#"{"b":"x","a":"1"}"#,
            r#"{"a":1.5}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":[["b"]]}"#,
            r#"{"a":null}"#,
            r#"{"a":1,"a":2}"#,
            "[]",
        ] {
            assert_eq!(code(values, bad), Err("kbs.reference.value"), "{bad}");
        }
        let many: serde_json::Map<_, _> = (0..1025).map(|n| (n.to_string(), n.into())).collect();
        let many = serde_json::Value::Object(many).to_string();
        assert_eq!(code(values, &many), Err("kbs.reference.too_many"));
    }
}
