//! A PostgreSQL server for one test, made with the distribution's binaries in a temporary directory.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

/// A running server with the database `shop` and the roles `api`, `inventory` and `worker`; gone when dropped.
pub struct Cluster {
    directory: tempfile::TempDir,
    binaries: PathBuf,
    server: Option<Child>,
    port: u16,
}

impl Cluster {
    /// Makes and starts a server on a free port of the loopback interface.
    pub fn start() -> Cluster {
        let mut cluster = Cluster::prepare();
        cluster.start_server();
        cluster.sql(
            "postgres",
            "CREATE ROLE api LOGIN; CREATE ROLE inventory LOGIN; CREATE ROLE worker LOGIN",
        );
        cluster.sql("postgres", "CREATE DATABASE shop");
        cluster.sql(
            "shop",
            "CREATE SCHEMA shop AUTHORIZATION api; CREATE SCHEMA stock AUTHORIZATION inventory",
        );
        cluster
    }

    fn prepare() -> Cluster {
        let binaries = newest_binaries();
        let directory = tempfile::tempdir().expect("a temporary directory");
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = unprivileged();
            std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).expect("chown");
        }
        let data = directory.path().join("data");
        let initdb = as_server_user(&binaries.join("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--no-locale",
                "--encoding=UTF8",
                "--no-sync",
                "--pgdata",
            ])
            .arg(&data)
            .current_dir(directory.path())
            .output()
            .expect("initdb runs");
        assert!(
            initdb.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&initdb.stderr)
        );
        Cluster {
            directory,
            binaries,
            server: None,
            port: free_port(),
        }
    }

    /// Starts the server again after [`Cluster::stop_server`], on the same port.
    pub fn start_server(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .expect("the log opens");
        let server = as_server_user(&self.binaries.join("postgres"))
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .arg("-k")
            .arg(self.directory.path())
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "fsync=off",
            ])
            .args(["-c", "shared_buffers=32MB", "-c", "max_connections=150"])
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        self.server = Some(server);
        let give_up = Instant::now() + Duration::from_secs(30);
        while !self.psql("postgres", "SELECT 1").status.success() {
            let log =
                std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(
                Instant::now() < give_up,
                "PostgreSQL does not answer; its log:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server at once (its clients are cut off) and waits for its end.
    pub fn stop_server(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let pid = rustix::process::Pid::from_child(&server);
        kill_process(pid, Signal::INT).expect("the server can be signalled");
        server.wait().expect("the server ends");
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as the superuser; gives the first column's values.
    pub fn sql(&self, database: &str, sql: &str) -> Vec<String> {
        let output = self.psql(database, sql);
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// The one number that SQL in the database `shop` gives.
    pub fn number(&self, sql: &str) -> i64 {
        let rows = self.sql("shop", sql);
        rows.first()
            .and_then(|row| row.parse().ok())
            .unwrap_or_else(|| panic!("{sql} gives no number: {rows:?}"))
    }

    /// A session of the superuser that runs `sql` in a transaction and keeps what it locks until dropped.
    pub fn hold(&self, sql: &str) -> LockHolder {
        let mut psql = self
            .psql_command("shop")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let input = psql.stdin.as_mut().expect("psql has an input");
        writeln!(input, "BEGIN; {sql};\n\\echo held").expect("psql reads");
        let output = psql.stdout.take().expect("psql has an output");
        let held = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .any(|line| line == "held");
        assert!(held, "{sql} failed");
        LockHolder(psql)
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        self.psql_command(database)
            .args(["-c", sql])
            .output()
            .expect("psql runs")
    }

    fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new(self.binaries.join("psql"));
        command
            .args([
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                database,
                "-h",
            ])
            .arg(self.directory.path())
            .args(["-p", &self.port.to_string()])
            .env("PGCONNECT_TIMEOUT", "5");
        command
    }
}

/// Holds locks in the database until dropped; see [`Cluster::hold`].
pub struct LockHolder(Child);

impl Drop for LockHolder {
    fn drop(&mut self) {
        // End of input ends psql, and its connection ends the transaction.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_server();
    }
}

/// The newest of the distribution's servers. A machine without one fails the test: it can't be tested for nothing.
fn newest_binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/initdb").exists())
        .max_by_key(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .parse::<u32>()
                .unwrap_or(0)
        });
    match newest {
        Some(entry) => entry.path().join("bin"),
        None => {
            panic!("no PostgreSQL server in /usr/lib/postgresql: install the package `postgresql`")
        }
    }
}

/// PostgreSQL refuses to run as root, so root runs it as `nobody`.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = unprivileged();
        command.uid(uid).gid(gid);
    }
    command
}

/// User and group of `nobody`.
fn unprivileged() -> (u32, u32) {
    let accounts = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
    let ids = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_nobody = fields.next() == Some("nobody");
        let mut ids = fields.skip(1).map_while(|field| field.parse().ok());
        if is_nobody {
            Some((ids.next()?, ids.next()?))
        } else {
            None
        }
    });
    ids.expect("there is an account named nobody")
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
