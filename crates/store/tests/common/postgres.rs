//! A real PostgreSQL for tests: a server of one's own in a temporary directory, on a port of its own, without fsync.
//!
//! It runs as another user where the tests run as root, since it refuses root. A small shell watches over it: it ends the server by its
//! pid and removes the directory when this process ends, however that happens.
#![allow(unreachable_pub, missing_docs, dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

pub const PASSWORD: &str = "p%40ss-word";
const PASSWORD_PLAIN: &str = "p@ss-word";

/// A server; gone when it is dropped, or when the process ends.
pub struct Server {
    dir: PathBuf,
    bin: PathBuf,
    port: u16,
    running: Mutex<Option<Running>>,
}

struct Running {
    watcher: Child,
    line: ChildStdin,
    pid: u32,
}

/// The server that the tests of one binary share; each takes a database of its own.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

/// Whether a process is over. Its watcher looks after it only when it is told to end: until then it is there, as one that is over.
fn ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

impl Server {
    /// Makes and starts a server.
    pub fn start() -> Server {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let bin = bin();
        let name = format!("trunkline-postgres-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let password = dir.join("password");
        std::fs::write(&password, PASSWORD_PLAIN).unwrap();
        if let Some((user, _)) = other_user() {
            assert!(Command::new("chown").args(["-R", user]).arg(&dir).status().unwrap().success());
        }
        let made = command(&bin.join("initdb"))
            .args(["-U", "tester", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(dir.join("data"))
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}{}", String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server { dir, bin, port, running: Mutex::new(None) };
        server.run();
        server
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://tester:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database; answers its address.
    pub fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        sql(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Starts it (again) and waits until it answers.
    pub fn run(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.spawn();
            loop {
                if self.answers() {
                    return;
                }
                // It ends at once while a killed one's last processes still live: then it is started again.
                let ended = self.running.lock().unwrap().as_ref().is_none_or(|running| ended(running.pid));
                assert!(Instant::now() < deadline, "the server does not start:\n{}", self.log());
                if ended {
                    break;
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn spawn(&self) {
        self.reap();
        let settings = [
            "fsync=off",
            "full_page_writes=off",
            "listen_addresses=127.0.0.1",
            "max_connections=200",
            "shared_buffers=64MB",
            "max_wal_size=256MB",
            "logging_collector=off",
        ];
        let user =
            other_user().as_ref().map_or(String::new(), |(user, group)| format!("setpriv --reuid={user} --regid={group} --clear-groups "));
        let settings: String = settings.iter().map(|setting| format!("-c {setting} ")).collect();
        let (dir, bin) = (self.dir.display(), self.bin.display());
        let script = format!(
            "cd '{dir}'; {user}'{bin}/postgres' -D '{dir}/data' -p {} -c unix_socket_directories='{dir}' {settings} >>'{dir}/log' 2>&1 & \
             pid=$!; echo $pid; read word; if [ \"$word\" = keep ]; then wait $pid; exit; fi; \
             kill -QUIT $pid 2>/dev/null; wait $pid; rm -rf '{dir}'",
            self.port
        );
        let mut watcher =
            Command::new("sh").arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(watcher.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let line = watcher.stdin.take().unwrap();
        *self.running.lock().unwrap() = Some(Running { watcher, line, pid: pid.trim().parse().unwrap() });
    }

    /// Lets it speak TLS with this certificate and key, in PEM.
    pub fn speak_tls(&self, certificate: &str, key: &str) {
        use std::os::unix::fs::OpenOptionsExt;
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.dir.join("data").join(name);
            let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            if let Some((user, _)) = other_user() {
                assert!(Command::new("chown").arg(user).arg(&path).status().unwrap().success());
            }
        }
        sql(&self.url("postgres"), "ALTER SYSTEM SET ssl = on");
        sql(&self.url("postgres"), "SELECT pg_reload_conf()");
        let began = Instant::now();
        while value(&self.url("postgres"), "SHOW ssl") != "on" {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", self.log());
        }
    }

    fn answers(&self) -> bool {
        try_sql(&self.url("postgres"), "SELECT 1").is_ok()
    }

    /// Ends it without any warning.
    pub fn kill(&self) {
        if let Some(running) = &*self.running.lock().unwrap() {
            assert!(Command::new("kill").args(["-KILL", &running.pid.to_string()]).status().unwrap().success());
        }
        self.reap();
    }

    /// Ends it as an administrator would in a hurry: connections are cut, what was committed is kept.
    pub fn stop(&self) {
        if let Some(running) = &*self.running.lock().unwrap() {
            assert!(Command::new("kill").args(["-INT", &running.pid.to_string()]).status().unwrap().success());
        }
        self.reap();
    }

    /// Freezes or thaws every process of it.
    pub fn freeze(&self, frozen: bool) {
        let pid = self.running.lock().unwrap().as_ref().unwrap().pid;
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output().unwrap();
        let all = String::from_utf8(children.stdout).unwrap();
        for pid in all.split_whitespace().map(str::to_owned).chain([pid.to_string()]) {
            // One may have ended meanwhile.
            drop(Command::new("kill").args([if frozen { "-STOP" } else { "-CONT" }, &pid]).stderr(Stdio::null()).status());
        }
    }

    /// Lets the watcher of an ended server go, and keeps the directory.
    fn reap(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            drop(writeln!(running.line, "keep"));
            drop(running.line);
            drop(running.watcher.wait());
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            drop(running.line);
            drop(running.watcher.wait());
        } else {
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

/// Runs statements, and answers the rows of all of them as text.
pub fn sql(url: &str, statements: &str) -> Vec<Vec<Option<String>>> {
    try_sql(url, statements).unwrap_or_else(|error| panic!("{statements}: {error}"))
}

/// The only value of the only row.
pub fn value(url: &str, statement: &str) -> String {
    let rows = sql(url, statement);
    assert_eq!((rows.len(), rows.first().map(Vec::len)), (1, Some(1)), "{statement}: {rows:?}");
    rows[0][0].clone().unwrap_or_else(|| "null".to_owned())
}

pub fn try_sql(url: &str, statements: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let (url, statements) = (url.to_owned(), statements.to_owned());
    // A thread of its own: the caller may be inside a runtime.
    let run = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config: tokio_postgres::Config = url.parse().unwrap();
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(|error| format!("{error:?}"))?;
            let driver = tokio::spawn(connection);
            let messages = client.simple_query(&statements).await.map_err(|error| format!("{error:?}"))?;
            drop(client);
            drop(driver.await);
            let rows = messages.into_iter().filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
                _ => None,
            });
            Ok(rows.collect())
        })
    });
    run.join().unwrap()
}

fn command(program: &Path) -> Command {
    match other_user() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg(program);
            command
        }
    }
}

/// Whom the server runs as (user and group), where this is root: the package's own user, else the one that is meant for such things.
fn other_user() -> &'static Option<(&'static str, String)> {
    static USER: OnceLock<Option<(&'static str, String)>> = OnceLock::new();
    USER.get_or_init(|| {
        let uid = Command::new("id").arg("-u").output().unwrap().stdout;
        if uid.trim_ascii() != b"0" {
            return None;
        }
        let known =
            |user: &str| Command::new("getent").args(["passwd", user]).stdout(Stdio::null()).status().is_ok_and(|status| status.success());
        let user = if known("postgres") { "postgres" } else { "nobody" };
        let group = Command::new("id").args(["-g", user]).output().unwrap().stdout;
        Some((user, String::from_utf8(group).unwrap().trim().to_owned()))
    })
}

/// Where the server's programs are: in the newest of Debian's directories, else in the path.
fn bin() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            let bin = path.join("bin");
            bin.join("initdb").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return bin;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists());
    in_path.expect("PostgreSQL is not installed; run `source scripts/tools`, which installs it")
}
