-- A store's head goes back only with a new token: when admins accepted what the guest has, and every lease ended.
DROP TRIGGER store_heads_go_forward;
CREATE TRIGGER store_heads_go_forward BEFORE UPDATE ON store_heads
WHEN (NEW.size < OLD.size AND NEW.token = OLD.token) OR NEW.token < OLD.token OR NEW.store <> OLD.store
BEGIN SELECT RAISE(ABORT, 'heads and tokens go forward'); END;
