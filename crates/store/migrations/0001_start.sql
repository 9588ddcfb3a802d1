-- Trunkline's tables, version 1. Applied inside one transaction, with the schema "trunkline" made and first in the path.

-- One row a shard: what a restart needs to go on from.
CREATE TABLE shards (
    bot_id        bigint NOT NULL,
    shard_count   integer NOT NULL,
    shard         integer NOT NULL,
    epoch         bigint NOT NULL DEFAULT 0,
    record        bytea,
    last_position bigint NOT NULL DEFAULT 0,
    floor         bigint NOT NULL DEFAULT 0,
    next_segment  bigint NOT NULL DEFAULT 0,
    committed_at  timestamptz,
    PRIMARY KEY (bot_id, shard_count, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE shards IS 'Checkpoints: session and group positions (record), the owner''s epoch, and what the event log needs to know.';

-- Events that some group has not acknowledged yet.
CREATE TABLE entries (
    bot_id      bigint NOT NULL,
    shard_count integer NOT NULL,
    shard       integer NOT NULL,
    segment     bigint NOT NULL,
    place       bigint NOT NULL,
    position    bigint NOT NULL,
    body        bytea NOT NULL,
    PRIMARY KEY (bot_id, shard_count, shard, segment, place)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
-- Bodies are small or compress badly; what is asked for is speed.
ALTER TABLE entries ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON TABLE entries IS 'Event bodies that some worker group has not acknowledged; deleted a whole segment at a time.';

CREATE TABLE ledgers (
    bot_id bigint PRIMARY KEY,
    value  bytea NOT NULL
);
COMMENT ON TABLE ledgers IS 'Each bot''s identify budget.';

CREATE TABLE meta (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

-- Which process holds the database; the lock itself is an advisory one.
CREATE TABLE owner (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    pid        bigint NOT NULL,
    host       text NOT NULL,
    instance   text NOT NULL,
    backend    integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now()
);

-- The shard count under which a bot's objects are told now. Rows of an earlier count stay until their events are delivered.
CREATE TABLE bots (
    bot_id      bigint PRIMARY KEY,
    shard_count integer NOT NULL
);

-- Cache rows that are no object of the tables below.
CREATE TABLE cache_rows (
    bot_id      bigint NOT NULL,
    shard_count integer NOT NULL,
    shard       integer NOT NULL,
    key         bytea NOT NULL,
    value       bytea NOT NULL,
    PRIMARY KEY (bot_id, shard_count, shard, key)
);

-- JSON where it is some, else null: for objects that jsonb refuses, which are then kept as bytes.
CREATE FUNCTION as_jsonb(json text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN json::jsonb;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;

-- Objects, one table a kind, all of one shape. guild_id is 0 for what is in no guild; id is 0 for what the guild alone names.
-- Exactly one of data and raw is there: raw holds what jsonb cannot.
CREATE TABLE guilds (
    bot_id      bigint NOT NULL,
    shard_count integer NOT NULL,
    shard       integer NOT NULL,
    guild_id    bigint NOT NULL,
    id          bigint NOT NULL,
    data        jsonb,
    raw         bytea,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (guild_id, id, bot_id, shard_count, shard),
    CHECK ((data IS NULL) <> (raw IS NULL))
) WITH (fillfactor = 90);
CREATE INDEX ON guilds (bot_id, shard_count, shard);

CREATE TABLE guild_states          (LIKE guilds INCLUDING ALL);
CREATE TABLE channels              (LIKE guilds INCLUDING ALL);
CREATE TABLE threads               (LIKE guilds INCLUDING ALL);
CREATE TABLE roles                 (LIKE guilds INCLUDING ALL);
CREATE TABLE emojis                (LIKE guilds INCLUDING ALL);
CREATE TABLE presences             (LIKE guilds INCLUDING ALL);
CREATE TABLE voice_states          (LIKE guilds INCLUDING ALL);
CREATE TABLE own_users             (LIKE guilds INCLUDING ALL);
CREATE TABLE stickers              (LIKE guilds INCLUDING ALL);
CREATE TABLE stage_instances       (LIKE guilds INCLUDING ALL);
CREATE TABLE scheduled_events      (LIKE guilds INCLUDING ALL);
CREATE TABLE soundboard_sounds     (LIKE guilds INCLUDING ALL);
CREATE TABLE bans                  (LIKE guilds INCLUDING ALL);
CREATE TABLE messages              (LIKE guilds INCLUDING ALL);
CREATE TABLE voice_channels        (LIKE guilds INCLUDING ALL);
CREATE TABLE auto_moderation_rules (LIKE guilds INCLUDING ALL);
CREATE TABLE integrations          (LIKE guilds INCLUDING ALL);
CREATE TABLE invites               (LIKE guilds INCLUDING ALL);
CREATE TABLE direct_channels       (LIKE guilds INCLUDING ALL);
CREATE TABLE entitlements          (LIKE guilds INCLUDING ALL);
CREATE TABLE subscriptions         (LIKE guilds INCLUDING ALL);
CREATE TABLE users                 (LIKE guilds INCLUDING ALL);
CREATE TABLE members               (LIKE guilds INCLUDING ALL);

-- The roles lie beside the object, so that an update that leaves them alone leaves their index alone.
ALTER TABLE members ADD COLUMN roles jsonb GENERATED ALWAYS AS (data -> 'roles') STORED;
CREATE INDEX members_roles ON members USING gin (roles jsonb_path_ops);
CREATE INDEX members_id ON members (id);
CREATE INDEX channels_id ON channels (id);
CREATE INDEX threads_id ON threads (id);
CREATE INDEX messages_id ON messages (id);
ALTER TABLE threads ADD COLUMN parent_id text GENERATED ALWAYS AS (data ->> 'parent_id') STORED;
CREATE INDEX threads_parent_id ON threads (parent_id);
ALTER TABLE users ADD COLUMN username text GENERATED ALWAYS AS (lower(data ->> 'username')) STORED;
CREATE INDEX users_username ON users (username text_pattern_ops);

COMMENT ON TABLE guilds IS 'Guild objects, without the lists that have tables of their own; member_count is in guild_states.';
COMMENT ON TABLE members IS 'Members; id is the user''s. The user object itself is in users.';
COMMENT ON TABLE emojis IS 'One row a guild: the list of its emojis.';
COMMENT ON TABLE stickers IS 'One row a guild: the list of its stickers.';
COMMENT ON TABLE presences IS 'Presences, saved at a clean stop only.';
COMMENT ON TABLE messages IS 'Recent messages, saved at a clean stop only.';
