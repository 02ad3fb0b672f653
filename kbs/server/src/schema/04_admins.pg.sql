-- The tables of 04_admins.sql for PostgreSQL.
CREATE TABLE proposals (
    id         BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 48),
    request    TEXT   NOT NULL,
    base       BYTEA  NOT NULL CHECK (octet_length(base) = 48),
    expires_at BIGINT NOT NULL,
    approved   BIGINT NOT NULL CHECK (approved IN (0, 1))
);
CREATE TRIGGER proposals_are_fixed BEFORE UPDATE OF id, request, base, expires_at ON proposals
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('a proposal is fixed');
CREATE TRIGGER proposals_are_approved_once BEFORE UPDATE OF approved ON proposals
FOR EACH ROW WHEN (OLD.approved = 1) EXECUTE FUNCTION hanzo_refuse('a proposal is fixed');
CREATE TRIGGER proposals_stay BEFORE DELETE ON proposals
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('a proposal is fixed');

CREATE TABLE image_floors (
    key_id TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    newest BIGINT NOT NULL CHECK (newest > 0)
);
CREATE TRIGGER image_floors_only_go_up BEFORE UPDATE ON image_floors
FOR EACH ROW WHEN (NEW.newest < OLD.newest OR NEW.key_id <> OLD.key_id)
EXECUTE FUNCTION hanzo_refuse('an image version only goes up');
CREATE TRIGGER image_floors_stay BEFORE DELETE ON image_floors
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('an image version only goes up');
