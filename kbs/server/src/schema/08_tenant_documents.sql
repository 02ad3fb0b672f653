-- What a tenant puts over all its keys: its resource policy (Rego) and reference values (JSON). Every version stays; the
-- newest counts, and the chain tells of each.
CREATE TABLE tenant_documents (
    tenant  TEXT    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('resource-policy', 'reference-values')),
    version INTEGER NOT NULL CHECK (version > 0),
    text    TEXT    NOT NULL,
    PRIMARY KEY (tenant, kind, version)
) STRICT;
CREATE TRIGGER tenant_documents_are_fixed BEFORE UPDATE ON tenant_documents
BEGIN SELECT RAISE(ABORT, 'a document is fixed'); END;
CREATE TRIGGER tenant_documents_stay BEFORE DELETE ON tenant_documents
BEGIN SELECT RAISE(ABORT, 'a document is fixed'); END;
