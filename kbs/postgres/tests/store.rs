//! `Store` over PostgreSQL: what it does like SQLCipher, and what it refuses.

#[path = "support/cluster.rs"]
mod cluster;

use std::fs;
use std::sync::Arc;

use cluster::{Cluster, SCHEMA, append, chain};
use hanzo_pqc::Dek;
use hanzo_store::{Migration, Store, StoreError, StoreMode, StoreSchema, Value};
use hanzo_store_postgres::{open, open_or_create};

fn code<T>(r: Result<T, StoreError>) -> &'static str {
    match r {
        Ok(_) => panic!("accepted"),
        Err(e) => e.code(),
    }
}

/// One server for all of these: starting one takes longer than they do.
#[test]
fn postgres_does_what_sqlcipher_does() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    values_and_failures(&cluster);
    refusals(&cluster);
    replicas_keep_one_chain(&cluster);
    a_lost_connection_releases_nothing(&cluster);
}

fn values_and_failures(cluster: &Cluster) {
    let store = cluster.store(&cluster.database("values"));
    let insert = "INSERT INTO t (a, b, c) VALUES (?1, ?2, ?3)";
    store
        .write(|tx| {
            tx.execute(insert, &[i64::MIN.into(), (&[0u8, 255]).into(), "grüße?1".into()])?;
            tx.execute(insert, &[2i64.into(), Value::Null, Value::Null])
        })
        .unwrap();
    let rows = store
        .read(|tx| tx.query("SELECT a, b, c FROM t ORDER BY a", &[]))
        .unwrap();
    assert_eq!(rows[0].integer(0).unwrap(), i64::MIN);
    assert_eq!(rows[0].blob(1).unwrap(), [0, 255]);
    assert_eq!(rows[0].text(2).unwrap(), "grüße?1");
    assert_eq!(rows[1].opt_blob(1).unwrap(), None);
    let other = store.read(|tx| tx.query("SELECT 1.5", &[]));
    assert_eq!(code(other), "store.shape");

    let failed = store.write(|tx| {
        tx.execute(insert, &[3i64.into(), Value::Null, Value::Null])?;
        let twice = tx.execute(insert, &[2i64.into(), Value::Null, Value::Null]);
        assert_eq!(code(twice), "store.sql");
        assert_eq!(code(tx.query("SELECT a FROM t", &[])), "store.aborted");
        Ok::<_, StoreError>(())
    });
    assert_eq!(code(failed), "store.sql");
    let again = "INSERT INTO t (a) VALUES (?1) ON CONFLICT DO NOTHING";
    assert_eq!(store.write(|tx| tx.execute(again, &[2i64.into()])).unwrap(), 0);
    assert_eq!(store.write(|tx| tx.execute(again, &[3i64.into()])).unwrap(), 1);
    assert_eq!(code(store.read(|tx| tx.execute(again, &[4i64.into()]))), "store.sql");
    let count = store.read(|tx| tx.query_one("SELECT count(*) FROM t", &[])?.integer(0));
    assert_eq!(count.unwrap(), 3);
}

fn refusals(cluster: &Cluster) {
    let url = cluster.database("refusals");
    let (key, mode) = (&cluster.key, StoreMode::Production);
    assert_eq!(code(open(&url, key, SCHEMA, mode)), "store.none");
    drop(open_or_create(&url, key, SCHEMA, mode).unwrap());
    drop(open(&url, key, SCHEMA, mode).unwrap());
    let other = Dek::generate().unwrap();
    assert_eq!(code(open(&url, &other, SCHEMA, mode)), "store.wrong_key");
    assert_eq!(
        code(open(&url, key, SCHEMA, StoreMode::Simulated)),
        "store.not_simulated"
    );
    let foreign = StoreSchema {
        application_id: 7,
        ..SCHEMA
    };
    assert_eq!(code(open(&url, key, foreign, mode)), "store.foreign");
    const NEWER: StoreSchema = StoreSchema {
        migrations: &[
            SCHEMA.migrations[0],
            Migration {
                sqlite: "",
                postgres: "ALTER TABLE t ADD COLUMN d TEXT",
            },
        ],
        ..SCHEMA
    };
    // Replicas that start at the same time: one brings the schema up, the others find it so.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| drop(open(&url, key, NEWER, mode).unwrap()));
        }
    });
    assert_eq!(code(open(&url, key, SCHEMA, mode)), "store.newer_schema");
    open(&url, key, NEWER, mode)
        .unwrap()
        .write(|tx| tx.execute("UPDATE t SET d = 'x'", &[]))
        .unwrap();

    let url = cluster.database("simulated");
    drop(open_or_create(&url, key, SCHEMA, StoreMode::Simulated).unwrap());
    assert_eq!(code(open(&url, key, SCHEMA, mode)), "store.simulated");
    let store = open(&url, key, SCHEMA, StoreMode::Simulated).unwrap();
    let changed = store.write(|tx| tx.execute("UPDATE hanzo_store SET simulated = 0", &[]));
    assert_eq!(code(changed), "store.sql");

    let url = cluster.database("theirs");
    cluster.sql("theirs", "CREATE TABLE accounts (id BIGINT)");
    assert_eq!(code(open_or_create(&url, key, SCHEMA, mode)), "store.foreign");
    assert_eq!(
        code(open_or_create(&cluster.url("missing"), key, SCHEMA, mode)),
        "store.connection"
    );
}

fn replicas_keep_one_chain(cluster: &Cluster) {
    const EACH: usize = 20;
    let url = cluster.database("replicas");
    let replicas = [cluster.store(&url), cluster.store(&url)];
    std::thread::scope(|scope| {
        for (r, store) in replicas.iter().enumerate() {
            for t in 0..3 {
                scope.spawn(move || {
                    for n in 0..EACH {
                        append(store, &format!("{r}-{t}-{n}")).unwrap();
                    }
                });
            }
        }
    });
    let told = chain(&replicas[0]);
    assert_eq!(told.len(), 2 * 3 * EACH);
    assert_eq!(told, chain(&replicas[1]));
}

fn a_lost_connection_releases_nothing(cluster: &Cluster) {
    let url = cluster.database("lost");
    let store = cluster.store(&url);
    append(&store, "before").unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'lost' AND pid <> pg_backend_pid()";
    // In the middle of a request: the transaction is gone, and it is told so.
    let outcome = store.write(|tx| {
        tx.execute("INSERT INTO t (a) VALUES (1)", &[])?;
        cluster.sql("lost", end);
        tx.execute("INSERT INTO t (a) VALUES (2)", &[])
    });
    assert_eq!(code(outcome), "store.connection");
    let count = |store: &Store| store.read(|tx| tx.query_one("SELECT count(*) FROM t", &[])?.integer(0));
    assert_eq!(count(&store).unwrap(), 0);
    // While idle: the next request connects again, and nobody notices.
    cluster.sql("lost", end);
    append(&store, "after").unwrap();
    assert_eq!(chain(&store), ["before", "after"]);
    // And comes back to the same store alone.
    cluster.sql("lost", end);
    cluster.sql("lost", "DROP TABLE t, chain, total, hanzo_store");
    assert_eq!(code(append(&store, "elsewhere")), "store.none");
}

#[test]
fn a_server_that_does_not_keep_what_it_acknowledges_is_refused() {
    let Some(mut cluster) = Cluster::start(&["-c", "fsync=off"]) else {
        return;
    };
    let url = cluster.database("kbs");
    let opened = || open_or_create(&url, &cluster.key, SCHEMA, StoreMode::Production);
    let e = opened().unwrap_err();
    assert_eq!(e.code(), "store.not_durable");
    assert!(e.to_string().contains("fsync is off"), "{e}");
    // A client may set this one for itself, and does.
    cluster.stop();
    cluster.up(&["-c", "synchronous_commit=off"]);
    let store = cluster.store(&url);
    let setting = store.write(|tx| {
        tx.query_one("SELECT current_setting('synchronous_commit')", &[])?
            .text(0)
            .map(str::to_owned)
    });
    assert_eq!(setting.unwrap(), "on");
    // A server that is away is named, and found again when it is back.
    cluster.stop();
    assert_eq!(code(append(&store, "a")), "store.connection");
    cluster.up(&[]);
    append(&store, "b").unwrap();
    assert_eq!(chain(&store), ["b"]);
}

#[test]
fn tls_tells_who_the_server_is() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let certificate = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    drop(cluster.store(&url));
    let own = certificate("127.0.0.1");
    let dir = cluster.dir.path().to_owned();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let store_key = Dek::from_slice(cluster.key.expose()).unwrap();
    let (cert, key, other, named) = (path("cert.pem"), path("key.pem"), path("other.pem"), path("named.pem"));
    fs::write(&cert, own.cert.pem()).unwrap();
    fs::write(&other, certificate("127.0.0.1").cert.pem()).unwrap();
    let elsewhere = certificate("elsewhere.example");
    fs::write(&named, elsewhere.cert.pem()).unwrap();
    let options = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".into(),
        "ssl=on".into(),
        format!("ssl_key_file={key}"),
    ];
    let mut up = |cert: &str, pem: String| {
        fs::write(&key, pem).unwrap();
        cluster.own(key.as_ref());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key, mode).unwrap();
        let file = format!("ssl_cert_file={cert}");
        let options = options.iter().map(String::as_str).chain([file.as_str()]);
        let options: Vec<&str> = options.flat_map(|o| ["-c", o]).collect();
        cluster.stop();
        cluster.port = port;
        cluster.up(&options);
    };
    up(&cert, own.signing_key.serialize_pem());
    let tcp = |root: &str| {
        let url = format!("postgresql://kbs@127.0.0.1:{port}/kbs?sslrootcert={root}");
        open(&url, &store_key, SCHEMA, StoreMode::Production)
    };
    let store = tcp(&cert).unwrap();
    append(&store, "over TLS").unwrap();
    let version = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let version = store.read(|tx| Ok::<_, StoreError>(tx.query_one(version, &[])?.text(0)?.to_owned()));
    assert_eq!(version.unwrap(), "TLSv1.3");
    assert_eq!(code(tcp(&other)), "store.connection");
    drop(store);
    // The right root and another name.
    up(&named, elsewhere.signing_key.serialize_pem());
    assert_eq!(code(tcp(&named)), "store.connection");
}

#[test]
fn acknowledged_writes_outlive_the_server() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let rounds: usize = std::env::var("HANZO_CRASH_ROUNDS").map_or(3, |n| n.parse::<usize>().unwrap().clamp(1, 50));
    let url = cluster.database("crash");
    let store = Arc::new(cluster.store(&url));
    let mut acknowledged = Vec::new();
    for round in 0..rounds {
        let (report, reports) = std::sync::mpsc::channel();
        let writers: Vec<_> = (0..4)
            .map(|w| {
                let (store, report) = (Arc::clone(&store), report.clone());
                std::thread::spawn(move || {
                    for n in 0.. {
                        let who = format!("{round}-{w}-{n}");
                        match append(&store, &who) {
                            Ok(_) => report.send(who).unwrap(),
                            Err(e) => {
                                assert_eq!(e.code(), "store.connection", "{e}");
                                return;
                            }
                        }
                    }
                })
            })
            .collect();
        drop(report);
        let wait = 100 + (round as u64 * 7919) % 300;
        std::thread::sleep(std::time::Duration::from_millis(wait));
        match round % 3 {
            0 => cluster.kill_all(),
            1 => cluster.kill(),
            _ => cluster.stop(),
        }
        writers.into_iter().for_each(|w| w.join().unwrap());
        let before = acknowledged.len();
        acknowledged.extend(reports);
        assert!(acknowledged.len() > before, "round {round}: nothing was written");
        cluster.up(&[]);
        let kept = chain(&store);
        for who in &acknowledged {
            assert!(kept.contains(who), "{who} was acknowledged and is lost");
        }
    }
    let kept = chain(&store).len();
    eprintln!("{rounds} kills, {} acknowledged, {kept} kept", acknowledged.len());
}
