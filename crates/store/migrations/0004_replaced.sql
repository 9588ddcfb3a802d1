-- jsonb holds neither the character U+0000 nor half a surrogate pair, and an object with one was kept as bytes that no question finds but one
-- by its id. Now data has U+FFFD in its place, and the object whole is in packed, from where it is answered as long as nobody changes data.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['guilds', 'guild_states', 'channels', 'threads', 'roles', 'emojis', 'presences', 'voice_states', 'own_users',
        'stickers', 'stage_instances', 'scheduled_events', 'soundboard_sounds', 'bans', 'messages', 'voice_channels', 'auto_moderation_rules',
        'integrations', 'invites', 'direct_channels', 'entitlements', 'subscriptions', 'users', 'members']
    LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN replaced boolean', name);
        EXECUTE format('COMMENT ON COLUMN %I.replaced IS ''True where data has U+FFFD for what jsonb does not hold; packed has it.''', name);
    END LOOP;
END
$$;
