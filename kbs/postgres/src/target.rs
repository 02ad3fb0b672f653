//! Where the database is, and how it may be reached.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hanzo_store::StoreError;
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::tls::Tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PASSFILE_BYTES_MAX: u64 = 64 * 1024;

/// What goes to the driver as it is. All else but the options below is refused.
const PASSED_ON: [&str; 6] = ["host", "hostaddr", "port", "user", "dbname", "application_name"];

/// Whether a store is named by a URL of PostgreSQL.
pub fn is_postgres_url(store: &str) -> bool {
    store.starts_with("postgresql://") || store.starts_with("postgres://")
}

/// A URL that was read and found acceptable.
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    /// For errors: no password.
    pub(crate) place: String,
}

#[derive(Default)]
struct Options {
    sslmode: Option<String>,
    sslrootcert: Option<PathBuf>,
    sslcert: Option<PathBuf>,
    sslkey: Option<PathBuf>,
    passfile: Option<PathBuf>,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let place = without_password(address);
        let refuse = |detail: String| StoreError::Target {
            place: place.clone(),
            detail,
        };
        if !is_postgres_url(url) {
            return Err(refuse("expected postgresql://".into()));
        }
        let mut options = Options::default();
        let mut passed_on = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| refuse(format!("{pair}: expected name=value")))?;
            let text = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| refuse(format!("{name}: not UTF-8")))?
                .into_owned();
            let slot = match name {
                "sslmode" => {
                    options.sslmode = Some(text);
                    continue;
                }
                "sslrootcert" => &mut options.sslrootcert,
                "sslcert" => &mut options.sslcert,
                "sslkey" => &mut options.sslkey,
                "passfile" => &mut options.passfile,
                "password" => return Err(refuse(PASSWORD.into())),
                _ if PASSED_ON.contains(&name) => {
                    passed_on.push(pair);
                    continue;
                }
                _ => return Err(refuse(format!("{name}: not an option of this program"))),
            };
            if !text.starts_with('/') {
                return Err(refuse(format!("{name}: expected an absolute path, got {text}")));
            }
            *slot = Some(PathBuf::from(text));
        }
        let mut config: Config = format!("{address}?{}", passed_on.join("&"))
            .parse()
            .map_err(|e: tokio_postgres::Error| refuse(e.to_string()))?;
        if config.get_password().is_some() {
            return Err(refuse(PASSWORD.into()));
        }
        if config.get_hosts().is_empty() || config.get_user().is_none() || config.get_dbname().is_none() {
            return Err(refuse(
                "user, host and database have to be named: postgresql://USER@HOST/DATABASE, or postgresql:///DATABASE?host=/run/postgresql&user=USER".into(),
            ));
        }
        let tls = transport(&config, &options).map_err(refuse)?;
        config
            .ssl_mode(match tls {
                Tls::None => SslMode::Disable,
                Tls::Verified(_) => SslMode::Require,
            })
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(Duration::from_secs(15))
            .keepalives_idle(Duration::from_secs(30))
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        if let Some(file) = &options.passfile {
            let password = passfile(file, &config).map_err(refuse)?;
            config.password(password);
        }
        Ok(Self { config, tls, place })
    }
}

const PASSWORD: &str = "a password in the configuration can be read by whoever reads the file: use passfile=/PATH (mode 0600, libpq's format), \
     sslcert= with sslkey=, or a Unix socket with peer authentication";

/// Plain connections stay on this machine.
fn transport(config: &Config, options: &Options) -> Result<Tls, String> {
    let local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    };
    let sockets = config.get_hosts().iter().all(|h| matches!(h, Host::Unix(_)));
    match options.sslmode.as_deref() {
        None | Some("disable") if sockets => Ok(Tls::None),
        Some("disable") => match config.get_hosts().iter().all(local) && config.get_hostaddrs().is_empty() {
            true => Ok(Tls::None),
            false => Err("sslmode=disable: only for Unix sockets and loopback addresses (127.0.0.1, ::1)".into()),
        },
        None | Some("verify-full") => {
            let roots = options.sslrootcert.as_deref().ok_or(
                "sslrootcert=/PATH is missing: the certificate (PEM) that the database's certificate chains to",
            )?;
            Tls::verified(roots, options.sslcert.as_deref().zip(options.sslkey.as_deref()))
        }
        Some(other) => Err(format!(
            "sslmode={other}: expected verify-full; others do not tell who the server is"
        )),
    }
}

/// The first line of a file in libpq's format that fits: `host:port:database:user:password`, `*` for any.
fn passfile(path: &Path, config: &Config) -> Result<String, String> {
    let named = |detail: String| format!("passfile {}: {detail}", path.display());
    let meta = fs::metadata(path).map_err(|e| named(e.to_string()))?;
    if !meta.is_file() || meta.mode() & 0o077 != 0 {
        return Err(named(
            "expected a regular file of mode 0600: others could read the password".into(),
        ));
    }
    if meta.len() > PASSFILE_BYTES_MAX {
        return Err(named(format!(
            "{} bytes, at most {PASSFILE_BYTES_MAX} are read",
            meta.len()
        )));
    }
    let text = fs::read_to_string(path).map_err(|e| named(e.to_string()))?;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        _ => "localhost".into(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let wanted = [
        host.as_str(),
        &port,
        config.get_dbname().unwrap_or_default(),
        config.get_user().unwrap_or_default(),
    ];
    let fits = |line: &&str| {
        let mut fields = line.splitn(5, ':');
        !line.starts_with('#')
            && wanted
                .iter()
                .all(|w| fields.next().is_some_and(|f| f == "*" || f == *w))
    };
    let line = text.lines().find(fits);
    let password = line.and_then(|l| l.splitn(5, ':').nth(4)).filter(|p| !p.is_empty());
    password
        .map(|p| p.replace("\\:", ":").replace("\\\\", "\\"))
        .ok_or_else(|| named("no line for this host, port, database and user".into()))
}

fn without_password(address: &str) -> String {
    match address.split_once("://").zip(address.rsplit_once('@')) {
        Some(((scheme, rest), (_, host))) => {
            let user = rest.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{user}@{host}")
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match Target::parse(url) {
            Ok(_) => panic!("accepted: {url}"),
            Err(e) => {
                assert_eq!(e.code(), "store.target");
                e.to_string()
            }
        }
    }

    #[test]
    fn sockets_are_plain_and_networks_are_not() {
        let socket = Target::parse("postgresql:///kbs?host=/run/postgresql&user=kbs").unwrap();
        assert!(matches!(socket.tls, Tls::None));
        let loopback = Target::parse("postgresql://kbs@127.0.0.1/kbs?sslmode=disable").unwrap();
        assert!(matches!(loopback.tls, Tls::None));
        assert_eq!(loopback.place, "postgresql://kbs@127.0.0.1/kbs");
        assert!(refused("postgresql://kbs@127.0.0.1/kbs").contains("sslrootcert"));
        assert!(refused("postgresql://kbs@db.example/kbs?sslmode=disable").contains("loopback"));
        let elsewhere = "postgresql://kbs@127.0.0.1/kbs?sslmode=disable&hostaddr=10.0.0.1";
        assert!(refused(elsewhere).contains("loopback"));
        assert!(refused("postgresql://kbs@localhost/kbs?sslmode=disable").contains("loopback"));
        for weak in ["allow", "prefer", "require", "verify-ca"] {
            assert!(refused(&format!("postgresql://kbs@db.example/kbs?sslmode={weak}")).contains("verify-full"));
        }
    }

    #[test]
    fn passwords_stay_out_of_urls_and_errors() {
        for url in [
            "postgresql://kbs:hunter2@db.example/kbs",
            "postgresql://kbs@db.example/kbs?password=hunter2",
            "postgresql://kbs:hunter2@db.example/kbs?sslmode=nonsense",
        ] {
            let said = refused(url);
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(refused("postgresql://kbs:x@/kbs?host=/run").contains("passfile"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (url, says) in [
            ("postgresql:///kbs?host=/run&user=kbs&options=-cfsync=off", "options"),
            ("postgresql:///kbs?host=/run&user=kbs&sslrootcert=ca.pem", "absolute"),
            ("postgresql:///kbs?user=kbs", "named"),
            ("postgresql:///?host=/run&user=kbs", "named"),
            ("postgresql:///kbs?host=/run", "named"),
            ("mysql://kbs@host/kbs", "postgresql://"),
        ] {
            assert!(refused(url).contains(says), "{url}");
        }
    }

    #[test]
    fn the_password_comes_from_the_line_that_fits() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        fs::write(&path, "# a\ndb:5432:other:kbs:no\n*:*:kbs:kbs:a\\:b\n").unwrap();
        let url = format!("postgresql:///kbs?host=/run&user=kbs&passfile={}", path.display());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refused(&url).contains("0600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Target::parse(&url).unwrap().config.get_password(), Some(&b"a:b"[..]));
        assert!(refused(&url.replace("user=kbs", "user=eve")).contains("no line"));
    }
}
