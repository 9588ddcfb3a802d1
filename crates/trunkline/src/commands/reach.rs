//! How commands reach a running process: addresses, the store's place and a group's token, from the same file and environment as `run`.
//!
//! Read leniently: what is wrong with keys that a command does not need is for `run` and `check` to tell, and a bot's token need not be
//! at hand where a worker is started. Nothing here judges a configuration as a whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::{Document, Raw, keys};

/// Where a process of this machine listens.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// The clients' port.
    pub clients: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

impl At {
    /// What is to be added to `trunkline worker` so that it comes here: ` --addr IP:PORT`, or nothing where that is the default.
    #[must_use]
    pub fn addr_flag(&self) -> String {
        flag("--addr", "listen.clients", self.clients)
    }

    /// What is to be added to `trunkline status` and `shard`: ` --admin IP:PORT`, or nothing where that is the default.
    #[must_use]
    pub fn admin_flag(&self) -> String {
        flag("--admin", "listen.admin", self.admin)
    }
}

fn flag(flag: &str, key: &str, at: SocketAddr) -> String {
    let at = here(at);
    if default(key) == at.to_string() { String::new() } else { format!(" {flag} {at}") }
}

/// Where to connect from this machine: an address that stands for all of its own is not one to connect to.
fn here(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

/// A default of the key table, without its quotes.
fn default(key: &str) -> &'static str {
    keys::find(key).map_or("", |key| key.default).trim_matches('"')
}

/// File and environment as a command sees them.
#[derive(Debug, Default)]
pub struct Reach {
    document: Document,
    environment: Vec<(String, String)>,
    /// The file, where there is one.
    file: Option<String>,
}

impl Reach {
    /// Reads `config`, else `./trunkline.toml` where there is one, and the environment.
    ///
    /// # Errors
    /// A text when the file cannot be read or is no TOML.
    pub fn read(config: Option<&Path>) -> Result<Self, String> {
        Self::of(super::file(config)?, super::environment())
    }

    fn of(file: Option<(String, String)>, environment: Vec<(String, String)>) -> Result<Self, String> {
        let mut document = Document::default();
        if let Some((name, text)) = &file {
            document.add_file(name, text);
            // Without a key: it is the file as a whole.
            if let Some(problem) = document.problems.iter().find(|problem| problem.key.is_empty()) {
                return Err(problem.to_string());
            }
        }
        document.add_environment(environment.iter().cloned());
        Ok(Self { document, environment, file: file.map(|(name, _)| name) })
    }

    fn text(&self, path: &str) -> Option<String> {
        match &self.document.entries.get(path)?.value {
            Raw::Text(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    fn address(&self, flag: Option<&str>, key: &str) -> String {
        let text = flag.map(str::to_owned).or_else(|| self.text(key)).unwrap_or_else(|| default(key).to_owned());
        text.parse::<SocketAddr>().map_or(text, |at| here(at).to_string())
    }

    /// The clients' port; `flag` wins.
    #[must_use]
    pub fn clients(&self, flag: Option<&str>) -> String {
        self.address(flag, "listen.clients")
    }

    /// The admin port; `flag` wins.
    #[must_use]
    pub fn admin(&self, flag: Option<&str>) -> String {
        self.address(flag, "listen.admin")
    }

    /// The store's directory; `flag` wins.
    #[must_use]
    pub fn store(&self, flag: Option<&Path>) -> PathBuf {
        let configured = || PathBuf::from(self.text("store.path").unwrap_or_else(|| default("store.path").to_owned()));
        flag.map_or_else(configured, Path::to_owned)
    }

    /// The configured groups, by index and name.
    fn groups(&self) -> Vec<(usize, String)> {
        let indices = (0..).take_while(|index| {
            let prefix = format!("groups.{index}.");
            self.document.entries.keys().any(|path| path.starts_with(&prefix))
        });
        indices.filter_map(|index| Some((index, self.text(&format!("groups.{index}.name"))?))).collect()
    }

    /// The group meant: the one named, else the only one there is, else `default`.
    ///
    /// # Errors
    /// A text when there are several and none is called `default`.
    pub fn group(&self, named: Option<&str>) -> Result<String, String> {
        if let Some(name) = named {
            return Ok(name.to_owned());
        }
        let names: Vec<_> = self.groups().into_iter().map(|(_, name)| name).collect();
        match &names[..] {
            [only] => Ok(only.clone()),
            [] => Ok("default".to_owned()),
            several if several.iter().any(|name| name == "default") => Ok("default".to_owned()),
            several => {
                let file = self.file.as_deref().unwrap_or("the environment");
                Err(format!("which group? {file} has {}; say it with --group", several.join(", ")))
            }
        }
    }

    /// A group's token as configured; none where it is kept in the store.
    ///
    /// # Errors
    /// A text when it is configured and cannot be had here.
    pub fn token(&self, group: &str) -> Result<Option<String>, String> {
        let Some((index, _)) = self.groups().into_iter().find(|(_, name)| name == group) else { return Ok(None) };
        let table = format!("groups.{index}");
        let trimmed = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        if let Some(token) = self.text(&format!("{table}.token")) {
            return Ok(trimmed(token));
        }
        if let Some(name) = self.text(&format!("{table}.token_env")) {
            let found = self.environment.iter().find(|(known, _)| *known == name);
            let found = found.and_then(|(_, value)| trimmed(value.clone()));
            return found.map(Some).ok_or_else(|| {
                format!("the token of group {group} is in the environment variable {name}, which is not set here; set it, or give --token-file or --token")
            });
        }
        if let Some(path) = self.text(&format!("{table}.token_file")) {
            let read = std::fs::read_to_string(&path)
                .map_err(|error| format!("the token of group {group} is in {path}, which cannot be read: {error}"))?;
            return Ok(trimmed(read));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str, environment: &[(&str, &str)]) -> Reach {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Reach::of(Some(("t.toml".to_owned(), text.to_owned())), environment).expect("readable")
    }

    #[test]
    fn addresses_come_from_the_file_then_the_environment_then_the_flag() {
        let file = "[listen]\nclients = \"0.0.0.0:4010\"\nadmin = \"[::]:4011\"\n[store]\npath = \"here\"\n";
        let from_file = reach(file, &[]);
        assert_eq!(from_file.clients(None), "127.0.0.1:4010", "an address for all is none to connect to");
        assert_eq!(from_file.admin(None), "[::1]:4011");
        assert_eq!(from_file.store(None), PathBuf::from("here"));
        let both = reach(file, &[("TRUNKLINE_LISTEN_CLIENTS", "gateway.internal:4020"), ("TRUNKLINE_STORE_PATH", "there")]);
        assert_eq!((both.clients(None).as_str(), both.store(None)), ("gateway.internal:4020", PathBuf::from("there")));
        assert_eq!(both.clients(Some("10.0.0.5:1")), "10.0.0.5:1");
        let nothing = reach("", &[]);
        assert_eq!((nothing.clients(None).as_str(), nothing.admin(None).as_str()), ("127.0.0.1:4000", "127.0.0.1:4001"));
    }

    #[test]
    fn a_groups_token_is_found_where_the_file_says_and_nothing_else_of_the_file_is_judged() {
        let file = "[[bots]]\ntoken_env = \"NOT_SET_HERE\"\nunknown = 1\n[[groups]]\nname = \"a\"\ntoken = \" hush \"\n[[groups]]\nname = \"b\"\ntoken_env = \"B\"\n[[groups]]\nname = \"c\"\n";
        let with = reach(file, &[("B", "from-b")]);
        assert_eq!(with.token("a"), Ok(Some("hush".to_owned())));
        assert_eq!(with.token("b"), Ok(Some("from-b".to_owned())));
        assert_eq!(with.token("c"), Ok(None));
        assert_eq!(with.token("z"), Ok(None));
        let error = reach(file, &[]).token("b").expect_err("not set");
        assert!(error.contains("environment variable B, which is not set here"), "{error}");
        assert_eq!(with.group(None).expect_err("three"), "which group? t.toml has a, b, c; say it with --group");
        assert_eq!(with.group(Some("z")).as_deref(), Ok("z"));
        assert_eq!(reach("[[groups]]\nname = \"only\"\n", &[]).group(None).as_deref(), Ok("only"));
        assert_eq!(reach("", &[]).group(None).as_deref(), Ok("default"));
        assert!(Reach::of(Some(("t.toml".to_owned(), "[listen".to_owned())), Vec::new()).expect_err("no TOML").starts_with("t.toml:1:"));
    }

    #[test]
    fn hints_carry_the_address_only_where_it_is_not_the_default() {
        let at =
            |clients: &str, admin: &str| At { clients: clients.parse().expect("an address"), admin: admin.parse().expect("an address") };
        let usual = at("0.0.0.0:4000", "127.0.0.1:4001");
        assert_eq!((usual.addr_flag(), usual.admin_flag()), (String::new(), String::new()));
        let other = at("0.0.0.0:4010", "10.0.0.5:4001");
        assert_eq!((other.addr_flag().as_str(), other.admin_flag().as_str()), (" --addr 127.0.0.1:4010", " --admin 10.0.0.5:4001"));
    }
}
