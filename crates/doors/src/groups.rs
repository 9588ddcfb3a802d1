//! Who may come in: the groups with their tokens.
//!
//! A token is compared in constant time and never printed.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use hashbrown::HashMap;
use trunkline_delivery::GroupId;

use crate::limits::{GROUPS_MAX, NAME_BYTES_MAX, TOKEN_BYTES_MAX};

/// A group's token. Its debug output is masked.
#[derive(Clone)]
pub struct GroupToken(Arc<str>);

impl GroupToken {
    /// Takes the token as configured.
    pub fn new(token: impl Into<Arc<str>>) -> GroupToken {
        GroupToken(token.into())
    }

    /// Whether `presented` is this token. The time taken tells nothing but the presented length.
    pub fn matches(&self, presented: &str) -> bool {
        if presented.len() > TOKEN_BYTES_MAX {
            return false;
        }
        same(self.0.as_bytes(), presented.as_bytes())
    }
}

/// Compares in a time that depends on the second argument's length only.
pub(crate) fn same(ours: &[u8], presented: &[u8]) -> bool {
    let mut difference = u8::from(ours.len() != presented.len());
    for (index, byte) in presented.iter().enumerate() {
        let other = ours.get(index).copied().unwrap_or(0);
        difference |= black_box(byte ^ other);
    }
    black_box(difference) == 0
}

impl fmt::Debug for GroupToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One group as the door knows it.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its number in every core's hub.
    pub id: GroupId,
    /// Its name: what a worker gives as `consumer_group`.
    pub name: Arc<str>,
    /// What a worker gives as `auth_token`.
    pub token: GroupToken,
}

/// All groups of a door.
#[derive(Clone, Debug)]
pub struct Groups(Vec<Group>, HashMap<Arc<str>, usize>);

/// Why a set of groups cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupsError {
    /// More than [`GROUPS_MAX`].
    #[error("{count} groups are too many: at most {GROUPS_MAX}; merge some or run a second process")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Two of one name.
    #[error("group {name:?} is there twice; give each group its own name")]
    Twice {
        /// Which.
        name: Arc<str>,
    },
    /// The name is empty, too long, or has characters that do not print.
    #[error("group name {name:?} is not usable: 1 to {NAME_BYTES_MAX} bytes, all printable")]
    BadName {
        /// Which.
        name: Arc<str>,
    },
    /// An empty or overlong token would let in everybody or nobody.
    #[error("group {name:?} has an empty token or one above {TOKEN_BYTES_MAX} bytes; set another")]
    BadToken {
        /// Whose.
        name: Arc<str>,
    },
}

/// Whether a name can stand in a log line and a metric's label.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

impl Groups {
    /// Checks and keeps the groups.
    pub fn new(groups: Vec<Group>) -> Result<Groups, GroupsError> {
        if groups.len() > GROUPS_MAX {
            return Err(GroupsError::TooMany { count: groups.len() });
        }
        let mut by_name = HashMap::new();
        for (index, group) in groups.iter().enumerate() {
            let name = group.name.clone();
            if !is_name(&name) {
                return Err(GroupsError::BadName { name });
            }
            if group.token.0.is_empty() || group.token.0.len() > TOKEN_BYTES_MAX {
                return Err(GroupsError::BadToken { name });
            }
            if by_name.insert(name.clone(), index).is_some() {
                return Err(GroupsError::Twice { name });
            }
        }
        Ok(Groups(groups, by_name))
    }

    /// All groups, in the order given.
    pub fn all(&self) -> &[Group] {
        &self.0
    }

    /// A group's place in [`Groups::all`].
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.1.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, token: &str) -> Group {
        Group { id: GroupId(0), name: name.into(), token: GroupToken::new(token) }
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = GroupToken::new("secret");
        assert!(token.matches("secret"));
        for wrong in ["", "s", "secre", "secret ", "secrex", "Secret", "secretsecret", "secret\0"] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
        assert!(!GroupToken::new("a\0").matches("a"));
        assert!(!token.matches(&"x".repeat(TOKEN_BYTES_MAX + 1)));
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", group("default", "sesame")).contains("sesame"));
    }

    #[test]
    fn a_set_of_groups_that_cannot_be_served_is_refused_with_what_is_wrong() {
        let twice = Groups::new(vec![group("a", "x"), group("a", "y")]).unwrap_err();
        assert_eq!(twice.to_string(), "group \"a\" is there twice; give each group its own name");
        assert!(matches!(Groups::new(vec![group("", "x")]), Err(GroupsError::BadName { .. })));
        assert!(matches!(Groups::new(vec![group("a\n", "x")]), Err(GroupsError::BadName { .. })));
        assert!(matches!(Groups::new(vec![group("a", "")]), Err(GroupsError::BadToken { .. })));
        let many = (0..=GROUPS_MAX).map(|n| group(&format!("g{n}"), "x")).collect();
        assert!(matches!(Groups::new(many), Err(GroupsError::TooMany { .. })));
    }
}
