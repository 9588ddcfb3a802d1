-- An index takes no text beyond some 2 700 bytes, and a row whose indexed text is longer is refused, with the checkpoint that it is part
-- of, each time anew. So what is indexed holds the beginning of the text only; the text itself is in data. No name of Discord's is as long.
ALTER TABLE users DROP COLUMN username;
ALTER TABLE users ADD COLUMN username text GENERATED ALWAYS AS (left(lower(data ->> 'username'), 200)) STORED;
CREATE INDEX users_username ON users (username text_pattern_ops);

-- An id has at most 20 digits: what is cut off here equals none.
ALTER TABLE threads DROP COLUMN parent_id;
ALTER TABLE threads ADD COLUMN parent_id text GENERATED ALWAYS AS (left(data ->> 'parent_id', 32)) STORED;
CREATE INDEX threads_parent_id ON threads (parent_id);
