//! A PostgreSQL server of its own, in a temporary directory.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanzo_pqc::Dek;
use hanzo_store::{Migration, Store, StoreError, StoreMode, StoreSchema};

pub const SCHEMA: StoreSchema = StoreSchema {
    application_id: 0x6861_6e03,
    migrations: &[Migration {
        sqlite: "",
        postgres: "CREATE TABLE t (a BIGINT PRIMARY KEY, b BYTEA, c TEXT);
                   CREATE TABLE chain (seq BIGINT PRIMARY KEY, previous BIGINT NOT NULL, who TEXT NOT NULL);
                   CREATE TABLE total (id BIGINT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO total VALUES (1, 0);",
    }],
};

pub struct Cluster {
    pub dir: tempfile::TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    server: Option<Child>,
    pub key: Dek,
    pub port: u16,
}

impl Cluster {
    /// None, said loudly, where PostgreSQL is not installed.
    pub fn start(options: &[&str]) -> Option<Self> {
        let mut found: Vec<_> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .filter_map(|e| Some(e.ok()?.path().join("bin")))
            .filter(|p| p.join("initdb").exists())
            .collect();
        found.sort();
        let Some(programs) = found.pop() else {
            let _ = writeln!(
                std::io::stderr(),
                "POSTGRESQL MISSING: not run (apt-get install postgresql)"
            );
            return None;
        };
        // The server refuses to run as root.
        let user = rustix::process::getuid().is_root().then(|| {
            let users = fs::read_to_string("/etc/passwd").unwrap();
            let line = users.lines().find(|l| l.starts_with("postgres:")).unwrap();
            let fields: Vec<_> = line.split(':').collect();
            (fields[2].parse().unwrap(), fields[3].parse().unwrap())
        });
        let dir = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut cluster = Self {
            dir,
            programs,
            user,
            server: None,
            key: Dek::generate().unwrap(),
            port: 5432,
        };
        let made = cluster
            .program("initdb")
            .args([
                "-A",
                "trust",
                "-U",
                "kbs",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(cluster.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        cluster.up(options);
        Some(cluster)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts the server and waits until it answers.
    pub fn up(&mut self, options: &[&str]) {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let log = fs::File::options()
                .append(true)
                .create(true)
                .open(self.dir.path().join("log"))
                .unwrap();
            let mut command = self.program("postgres");
            command.arg("-D").arg(self.data()).arg("-k").arg(self.dir.path());
            command.args(["-c", "max_connections=40"]).args(options);
            if !options.iter().any(|o| o.starts_with("listen_addresses=")) {
                command.args(["-c", "listen_addresses="]);
            }
            let mut server = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
            // Ready, or ended at once: orphans of a killed server hold its memory for a moment.
            while server.try_wait().unwrap().is_none() {
                if self.try_open().is_ok() {
                    self.server = Some(server);
                    return;
                }
                assert!(Instant::now() < until, "the server does not answer");
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{}", fs::read_to_string(self.dir.path().join("log")).unwrap());
    }

    fn try_open(&self) -> Result<(), StoreError> {
        // An answer of any kind; nothing is made in this database.
        match hanzo_store_postgres::open(&self.url("template1"), &self.key, SCHEMA, StoreMode::Production) {
            Err(e) if e.code() == "store.connection" => Err(e),
            _ => Ok(()),
        }
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// SIGKILL for the server and every process that it started, as when the machine loses power.
    pub fn kill_all(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let parent = server.id();
        // Stopped first, so that it starts no more of them meanwhile.
        let signal = |pid: u32, signal| {
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            let _ = rustix::process::kill_process(pid, signal);
        };
        signal(parent, rustix::process::Signal::STOP);
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // After the name in parentheses: state, parent.
            let of = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            if of == Some(&parent.to_string()) {
                signal(pid, rustix::process::Signal::KILL);
            }
        }
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// SIGQUIT, what `pg_ctl stop -m immediate` sends: no checkpoint, recovery at the next start.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = rustix::process::Pid::from_child(&server);
            rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
            server.wait().unwrap();
        }
    }

    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql:///{database}?host={}&port={}&user=kbs",
            self.dir.path().display(),
            self.port
        )
    }

    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self
            .program("psql")
            .args([
                "-X",
                "-q",
                "-t",
                "-A",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "kbs",
                "-d",
                database,
                "-c",
                sql,
                "-h",
            ])
            .arg(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    pub fn store(&self, url: &str) -> Store {
        hanzo_store_postgres::open_or_create(url, &self.key, SCHEMA, StoreMode::Production).unwrap()
    }

    pub fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.user {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Adds a link to the chain, and to the total, in one transaction; the link's number.
pub fn append(store: &Store, who: &str) -> Result<i64, StoreError> {
    store.write(|tx| {
        let last = tx.query_opt("SELECT seq FROM chain ORDER BY seq DESC LIMIT 1", &[])?;
        let last = last.map_or(Ok(0), |row| row.integer(0))?;
        tx.execute(
            "INSERT INTO chain (seq, previous, who) VALUES (?1, ?2, ?3)",
            &[(last + 1).into(), last.into(), who.into()],
        )?;
        tx.execute("UPDATE total SET n = n + 1 WHERE id = ?1", &[1i64.into()])?;
        Ok(last + 1)
    })
}

/// The whole chain: who appended each link. It has no gaps, and the total tells the same.
pub fn chain(store: &Store) -> Vec<String> {
    store
        .read(|tx| {
            let rows = tx.query("SELECT seq, previous, who FROM chain ORDER BY seq", &[])?;
            for (n, row) in rows.iter().enumerate() {
                assert_eq!((row.integer(0)?, row.integer(1)?), (n as i64 + 1, n as i64));
            }
            assert_eq!(tx.query_one("SELECT n FROM total", &[])?.integer(0)?, rows.len() as i64);
            rows.iter().map(|row| row.text(2).map(str::to_owned)).collect()
        })
        .unwrap()
}
