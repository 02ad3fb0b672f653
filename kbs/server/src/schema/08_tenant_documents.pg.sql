-- The table of 08_tenant_documents.sql for PostgreSQL.
CREATE TABLE tenant_documents (
    tenant  TEXT COLLATE "C" NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL CHECK (kind IN ('resource-policy', 'reference-values')),
    version BIGINT NOT NULL CHECK (version > 0),
    text    TEXT NOT NULL,
    PRIMARY KEY (tenant, kind, version)
);
CREATE TRIGGER tenant_documents_are_fixed BEFORE UPDATE ON tenant_documents
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('a document is fixed');
CREATE TRIGGER tenant_documents_stay BEFORE DELETE ON tenant_documents
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('a document is fixed');
