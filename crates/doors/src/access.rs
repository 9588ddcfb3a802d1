//! Who may ask what: the scope of a call by its group token.
//!
//! `authorization: Bearer <group token>` gives a call its group's scope: the bots and guilds of the group's filter, all where the filter
//! names none. A call without a token may ask for everything, where that is allowed at all: while the clients' port listens on
//! loopback, or when the configuration says so. A wrong token is refused even there: it is a mistake that should be seen.
//!
//! Tokens are compared in constant time, with every group's, and never printed.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use trunkline_delivery::Filter;

use crate::groups::{GroupToken, Groups};

/// Decides what a call may ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    groups: Arc<[(Arc<str>, GroupToken, Scope)]>,
    anonymous: bool,
}

/// The bots and guilds that a call may ask about. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// What any one of these reaches may be asked; empty: everything.
    reaches: Arc<[Reach]>,
}

impl Scope {
    /// The bots that may be asked about, ascending; none: all of them.
    pub(crate) fn bots(&self) -> Option<Vec<u64>> {
        if self.reaches.is_empty() || self.reaches.iter().any(|reach| reach.bots.is_empty()) {
            return None;
        }
        let mut bots: Vec<u64> = self.reaches.iter().flat_map(|reach| reach.bots.iter().copied()).collect();
        bots.sort_unstable();
        bots.dedup();
        Some(bots)
    }
}

/// What one group may ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reach {
    /// Empty: all.
    bots: Arc<[u64]>,
    /// Empty: all.
    guilds: Arc<[u64]>,
}

impl Reach {
    fn has_bot(&self, bot: u64) -> bool {
        self.bots.is_empty() || self.bots.contains(&bot)
    }

    fn has_guild(&self, guild: u64) -> bool {
        self.guilds.is_empty() || self.guilds.contains(&guild)
    }
}

/// Why a call is refused before anything is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token, and none of the reasons for which none is needed.
    #[error("no token: send `authorization: Bearer <group token>`, or set listen.anonymous = true to let everybody ask")]
    NoToken,
    /// There is a token, and no group has it.
    #[error(
        "wrong token: no worker group has it; the tokens are in the server's configuration, or in the files that it prints at its start"
    )]
    WrongToken,
    /// The header is there, and is none of a bearer token.
    #[error("the authorization header is not of the form `Bearer <group token>`")]
    Malformed,
}

impl Access {
    /// Access by the tokens of these groups, each with its filter; `anonymous`: calls without a token may ask for everything.
    #[must_use]
    pub fn new<'a>(groups: &Groups, filters: impl IntoIterator<Item = &'a Filter>, anonymous: bool) -> Access {
        let scopes = filters.into_iter().map(Scope::of);
        let groups = groups.all().iter().zip(scopes).map(|(group, scope)| (group.name.clone(), group.token.clone(), scope)).collect();
        Access { groups, anonymous }
    }

    /// What a call with these headers (for gRPC: its metadata) may ask.
    ///
    /// # Errors
    /// [`Denied`], to be answered as "unauthenticated".
    pub fn scope(&self, headers: &HeaderMap) -> Result<Scope, Denied> {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return if self.anonymous { Ok(Scope::default()) } else { Err(Denied::NoToken) };
        };
        let text = value.to_str().map_err(|_| Denied::Malformed)?;
        let (scheme, token) = text.trim().split_once(' ').ok_or(Denied::Malformed)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::Malformed);
        }
        let token = token.trim();
        let mut found = None;
        for (_, known, scope) in self.groups.iter() {
            // All of them, always: the time taken does not tell which one matched. Groups that share a token may ask what any of
            // them may.
            if known.matches(token) {
                found = Some(found.map_or_else(|| scope.clone(), |other: Scope| other.or(scope)));
            }
        }
        found.ok_or(Denied::WrongToken)
    }
}

impl Scope {
    fn of(filter: &Filter) -> Scope {
        if filter.bots.is_empty() && filter.guilds.is_empty() {
            return Scope::default();
        }
        Scope { reaches: [Reach { bots: filter.bots.clone().into(), guilds: filter.guilds.clone().into() }].into() }
    }

    fn any(&self, reaches: impl Fn(&Reach) -> bool) -> bool {
        self.reaches.is_empty() || self.reaches.iter().any(reaches)
    }

    /// Whether anything of this bot may be asked.
    #[must_use]
    pub fn allows_bot(&self, bot: u64) -> bool {
        self.any(|reach| reach.has_bot(bot))
    }

    /// Whether this guild of this bot may be asked about.
    #[must_use]
    pub fn allows_guild(&self, bot: u64, guild: u64) -> bool {
        self.any(|reach| reach.has_bot(bot) && reach.has_guild(guild))
    }

    /// Whether this guild may be asked about, whichever bot it is of.
    #[must_use]
    pub fn allows_guild_of_any(&self, guild: u64) -> bool {
        self.any(|reach| reach.bots.is_empty() && reach.has_guild(guild))
    }

    /// Whether every guild of this bot may be asked about, and what concerns the bot as a whole.
    #[must_use]
    pub fn whole_bot(&self, bot: u64) -> bool {
        self.any(|reach| reach.has_bot(bot) && reach.guilds.is_empty())
    }

    /// What either may be asked, and nothing that neither may.
    fn or(&self, other: &Scope) -> Scope {
        if self.reaches.is_empty() || other.reaches.is_empty() {
            return Scope::default();
        }
        Scope { reaches: self.reaches.iter().chain(other.reaches.iter()).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::Group;
    use trunkline_delivery::GroupId;

    fn access(anonymous: bool) -> Access {
        let group = |id, name: &str, token: &str| Group { id: GroupId(id), name: name.into(), token: GroupToken::new(token) };
        let groups = Groups::new(vec![group(0, "all", "sesame"), group(1, "some", "poppy")]).unwrap();
        let filters = [Filter::default(), Filter { bots: vec![7], guilds: vec![70, 71], ..Filter::default() }];
        Access::new(&groups, &filters, anonymous)
    }

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_gives_its_groups_bots_and_guilds() {
        let all = access(false).scope(&headers("Bearer sesame")).unwrap();
        assert!(all.allows_guild(1, 2) && all.whole_bot(1));
        let some = access(false).scope(&headers("bearer poppy")).unwrap();
        assert!(some.allows_bot(7) && some.allows_guild(7, 71));
        assert!(!some.allows_bot(8) && !some.allows_guild(8, 70) && !some.allows_guild(7, 72) && !some.whole_bot(7));
    }

    #[test]
    fn groups_that_share_a_token_may_ask_what_either_may_and_no_more() {
        let group = |id, name: &str| Group { id: GroupId(id), name: name.into(), token: GroupToken::new("poppy") };
        let shared = |filters: [Filter; 2]| {
            let groups = Groups::new(vec![group(0, "one"), group(1, "other")]).unwrap();
            Access::new(&groups, &filters, false).scope(&headers("Bearer poppy")).unwrap()
        };
        let limited = |bots: &[u64], guilds: &[u64]| Filter { bots: bots.to_vec(), guilds: guilds.to_vec(), ..Filter::default() };
        let both = shared([limited(&[7], &[70]), limited(&[8], &[80])]);
        assert!(both.allows_guild(7, 70) && both.allows_guild(8, 80) && both.allows_bot(7) && both.allows_bot(8));
        assert!(!both.allows_guild(7, 80) && !both.allows_guild(8, 70) && !both.whole_bot(7) && !both.allows_bot(9));
        let crossed = shared([limited(&[7], &[]), limited(&[], &[80])]);
        assert!(crossed.whole_bot(7) && crossed.allows_guild(8, 80) && crossed.allows_guild_of_any(80));
        assert!(!crossed.whole_bot(8) && !crossed.allows_guild(8, 70) && !crossed.allows_guild_of_any(70));
        assert_eq!(shared([limited(&[7], &[70]), Filter::default()]), Scope::default());
    }

    #[test]
    fn without_a_token_everything_or_nothing_may_be_asked() {
        assert!(access(true).scope(&HeaderMap::new()).unwrap().whole_bot(5));
        assert_eq!(access(false).scope(&HeaderMap::new()), Err(Denied::NoToken));
    }

    #[test]
    fn a_wrong_token_is_refused_even_where_none_is_needed() {
        for anonymous in [false, true] {
            assert_eq!(access(anonymous).scope(&headers("Bearer sesam")), Err(Denied::WrongToken));
            assert_eq!(access(anonymous).scope(&headers("Bearer")), Err(Denied::Malformed));
            assert_eq!(access(anonymous).scope(&headers("Basic sesame")), Err(Denied::Malformed));
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", access(true)).contains("sesame"));
    }
}
