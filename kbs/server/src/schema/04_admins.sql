-- Admin requests that wait for a second admin. id is SHA-384 of the request's text; the chain tells of each.
CREATE TABLE proposals (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 48),
    request    TEXT    NOT NULL,
    base       BLOB    NOT NULL CHECK (length(base) = 48),
    expires_at INTEGER NOT NULL,
    approved   INTEGER NOT NULL CHECK (approved IN (0, 1))
) STRICT;
CREATE TRIGGER proposals_are_fixed BEFORE UPDATE OF id, request, base, expires_at ON proposals
BEGIN SELECT RAISE(ABORT, 'a proposal is fixed'); END;
CREATE TRIGGER proposals_are_approved_once BEFORE UPDATE OF approved ON proposals
WHEN OLD.approved = 1 BEGIN SELECT RAISE(ABORT, 'a proposal is fixed'); END;
CREATE TRIGGER proposals_stay BEFORE DELETE ON proposals BEGIN SELECT RAISE(ABORT, 'a proposal is fixed'); END;

-- The newest image version that each key was granted to, over all its versions. It only goes up.
CREATE TABLE image_floors (
    key_id TEXT    NOT NULL PRIMARY KEY,
    newest INTEGER NOT NULL CHECK (newest > 0)
) STRICT;
CREATE TRIGGER image_floors_only_go_up BEFORE UPDATE ON image_floors
WHEN NEW.newest < OLD.newest OR NEW.key_id <> OLD.key_id
BEGIN SELECT RAISE(ABORT, 'an image version only goes up'); END;
CREATE TRIGGER image_floors_stay BEFORE DELETE ON image_floors
BEGIN SELECT RAISE(ABORT, 'an image version only goes up'); END;
