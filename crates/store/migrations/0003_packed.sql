-- A start that takes millions of objects back spends most of its time on their JSON: the server writes it out, the program reads it. So the
-- form that the program keeps in memory lies beside. The object is what data says: whoever changes data, the other goes with it.
CREATE FUNCTION drop_packed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.packed := NULL;
    RETURN NEW;
END
$$;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['guilds', 'guild_states', 'channels', 'threads', 'roles', 'emojis', 'presences', 'voice_states', 'own_users',
        'stickers', 'stage_instances', 'scheduled_events', 'soundboard_sounds', 'bans', 'messages', 'voice_channels', 'auto_moderation_rules',
        'integrations', 'invites', 'direct_channels', 'entitlements', 'subscriptions', 'users', 'members']
    LOOP
        -- Compressing it would cost more than it saves.
        EXECUTE format('ALTER TABLE %I ADD COLUMN packed bytea', name);
        EXECUTE format('ALTER TABLE %I ALTER COLUMN packed SET STORAGE EXTERNAL', name);
        EXECUTE format('COMMENT ON COLUMN %I.packed IS ''What data says, in the form that the program loads. Gone when data is changed.''', name);
        -- The program writes both: what it writes does not get as far as calling the function.
        EXECUTE format('CREATE TRIGGER drop_packed BEFORE UPDATE ON %I FOR EACH ROW WHEN (NEW.packed IS NOT NULL '
            'AND NEW.packed IS NOT DISTINCT FROM OLD.packed AND NEW.data IS DISTINCT FROM OLD.data) EXECUTE FUNCTION drop_packed()', name);
    END LOOP;
END
$$;
