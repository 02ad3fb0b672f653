use super::*;

const GOOD: &str = r#"
version = 1
workers = 2
[limits]
connections_max = 100
[[listen]]
address = "127.0.0.1:8443"
pool = "a"
[pool.a]
guests = ["127.0.0.1:9443", "vsock:3:8443"]
"#;

fn refused(text: &str) -> ProxyError {
    Config::parse(text).expect_err(text)
}

/// GOOD with something else in the place of its listed guests.
fn listed(other: &str) -> String {
    with("guests = [\"127.0.0.1:9443\", \"vsock:3:8443\"]", other)
}

/// GOOD with one line replaced.
fn with(line: &str, other: &str) -> String {
    assert!(GOOD.contains(line), "{line}");
    GOOD.replace(line, other)
}

#[test]
fn a_file_that_says_little_gets_the_defaults() {
    let config = Config::parse(GOOD).unwrap();
    assert_eq!(config.limits.idle, Duration::from_secs(3660));
    assert_eq!(config.limits.client_connections_max, 256);
    assert_eq!(config.listeners[0].dial, Dial::AfterFirstBytes);
    assert!(!config.log.addresses, "no addresses in logs unless asked for");
    let pool = &config.pools["a"];
    assert_eq!(
        (pool.guests.len(), pool.balance, pool.send_header),
        (2, Balance::LeastOutstanding, None)
    );
    assert_eq!(
        pool.health.unwrap().interval,
        Duration::from_secs(2),
        "health checks cannot be left out"
    );
}

#[test]
fn unknown_and_missing_keys_are_refused_with_their_line() {
    for (text, named) in [
        (with("workers = 2", "worker = 2"), "worker"),
        (with("connections_max = 100", "connection_max = 100"), "connection_max"),
        (with("pool = \"a\"", "pool = \"a\"\nsni = true"), "sni"),
        (format!("{GOOD}weights = [1]\n"), "weights"),
        (format!("{GOOD}[pool.a.health]\noff = true\n"), "off"),
        (format!("{GOOD}[pool.a.breaker]\nmax = 1\n"), "max"),
        (format!("{GOOD}[logs]\njson = true\n"), "logs"),
        (with("version = 1\n", ""), "version"),
        (with("pool = \"a\"", "pool = \"a\"\npool = \"a\""), "duplicate"),
        (format!("{GOOD}balance = \"random\"\n"), "random"),
        (with("workers = 2", "workers = \"2\""), "workers"),
    ] {
        let error = refused(&text);
        assert_eq!(error.code(), "proxy.config.syntax", "{text}");
        assert!(
            error.to_string().contains(named) && error.to_string().contains("line"),
            "{error}"
        );
    }
}

#[test]
fn every_bound_is_checked_and_the_message_says_which() {
    let pool = |line: &str| format!("{GOOD}{line}\n");
    let limits = |line: &str| with("[limits]", &format!("[limits]\n{line}"));
    for (accepted, refused_text, key) in [
        (
            with("workers = 2", "workers = 64"),
            with("workers = 2", "workers = 65"),
            "workers",
        ),
        (
            with("version = 1", "version = 1"),
            with("version = 1", "version = 2"),
            "version",
        ),
        (
            with("connections_max = 100", "connections_max = 1"),
            with("connections_max = 100", "connections_max = 0"),
            "limits.connections_max",
        ),
        (limits("idle_s = 0.05"), limits("idle_s = 0.04"), "limits.idle_s"),
        (limits("stall_s = 604800"), limits("stall_s = 604801"), "limits.stall_s"),
        (
            limits("first_bytes_s = 1"),
            limits("first_bytes_s = nan"),
            "limits.first_bytes_s",
        ),
        (
            limits("half_closed_s = 1"),
            limits("half_closed_s = -1"),
            "limits.half_closed_s",
        ),
        (
            limits("client_connections_per_s = 1"),
            limits("client_connections_per_s = 0"),
            "limits.client_connections_per_s",
        ),
        (pool("queue_max = 0"), pool("queue_max = 1000001"), "pool.a.queue_max"),
        (pool("deadline_s = 1"), pool("deadline_s = 0"), "pool.a.deadline_s"),
        (
            pool("guest_connections_max = 1"),
            pool("guest_connections_max = 0"),
            "pool.a.guest_connections_max",
        ),
        (
            pool("[pool.a.health]\nfall = 1"),
            pool("[pool.a.health]\nfall = 0"),
            "pool.a.health.fall",
        ),
        (
            pool("[pool.a.breaker]\nfailures = 1"),
            pool("[pool.a.breaker]\nfailures = 0"),
            "pool.a.breaker.failures",
        ),
        (
            with(", \"vsock:3:8443\"", ""),
            with(", \"vsock:3:8443\"", ", \"127.0.0.1:9443\""),
            "pool.a.guests",
        ),
        (GOOD.to_owned(), listed("balance = \"rendezvous\""), "pool.a.guests"),
        (
            listed("discover = { socket = \"/run/d.sock\" }"),
            GOOD.replace("[pool.a]", "[pool.a]\ndiscover = { socket = \"/run/d.sock\" }"),
            "pool.a.discover",
        ),
        (
            listed("discover = { socket = \"/run/d.sock\", keep_s = 1 }"),
            listed("discover = { socket = \"/run/d.sock\", keep_s = 0 }"),
            "pool.a.discover.keep_s",
        ),
        (
            listed("discover = { socket = \"/run/d.sock\" }"),
            listed("discover = { socket = \"run/d.sock\" }"),
            "pool.a.discover.socket",
        ),
        (
            listed("discover = { name = \"g.example\", port = 8443 }"),
            listed("discover = { name = \"g.example\" }"),
            "pool.a.discover",
        ),
        (
            listed("discover = { name = \"g.example\", port = 1, servers = [\"192.0.2.1:53\"] }"),
            listed("discover = { socket = \"/d\", servers = [\"192.0.2.1:53\"] }"),
            "pool.a.discover",
        ),
        (
            listed("discover = { name = \"g.example\", port = 1 }"),
            listed("discover = { name = \"g.example.\", port = 1 }"),
            "pool.a.discover.name",
        ),
        (
            listed("discover = { service = \"_g._tcp.example\" }"),
            listed("discover = { service = \"g.example\" }"),
            "pool.a.discover.service",
        ),
        (
            listed("discover = { service = \"_g._tcp.example\", interval_min_s = 2, interval_max_s = 2 }"),
            listed("discover = { service = \"_g._tcp.example\", interval_min_s = 2, interval_max_s = 1 }"),
            "pool.a.discover.interval_max_s",
        ),
        (
            GOOD.replace("a]", "b.c]")
                .replace("\"a\"", "\"b.c\"")
                .replace("[pool.b.c]", "[pool.\"b.c\"]"),
            GOOD.replace("[pool.a]", "[pool.A]").replace("\"a\"", "\"A\""),
            "pool",
        ),
    ] {
        Config::parse(&accepted).unwrap_or_else(|e| panic!("{e}\n{accepted}"));
        let error = refused(&refused_text);
        assert_eq!(error.code(), "proxy.config.value", "{error}");
        assert!(
            error.to_string().contains(&format!("configuration, {key}: expected ")),
            "{error}"
        );
    }
    let addresses = with("127.0.0.1:9443", "guest.example:9443");
    assert_eq!(refused(&addresses).code(), "proxy.address");
    let metrics = with("workers = 2", "metrics = \"0.0.0.0:9100\"");
    assert_eq!(refused(&metrics).code(), "proxy.metrics_not_loopback");
}

#[test]
fn listeners_name_pools_that_exist_and_pools_are_used() {
    assert!(
        refused(&with("pool = \"a\"", "pool = \"b\""))
            .to_string()
            .contains("listen[0].pool")
    );
    assert!(
        refused(&format!("{GOOD}[pool.b]\nguests = [\"127.0.0.1:1\"]\n"))
            .to_string()
            .contains("pool.b")
    );
    let twice = format!("{GOOD}[[listen]]\naddress = \"127.0.0.1:8443\"\npool = \"a\"\n");
    assert!(refused(&twice).to_string().contains("listen[1].address"));
    Config::parse(&twice.replacen(
        "127.0.0.1:8443\"\npool = \"a\"\n[pool",
        "127.0.0.1:8444\"\npool = \"a\"\n[pool",
        1,
    ))
    .unwrap();
}

#[test]
fn routing_by_name_is_either_complete_or_refused() {
    let by_name = |lines: &str| with("pool = \"a\"", lines);
    let good = by_name("server_names = { \"a.example\" = \"a\", \"*.b.example\" = \"a\" }\nunknown_name = \"a\"");
    let config = Config::parse(&good).unwrap();
    let Route::ServerName {
        names,
        below,
        unknown,
        nameless,
    } = &config.listeners[0].route
    else {
        panic!("by name")
    };
    assert_eq!(
        (names.len(), below.len(), unknown.is_some(), nameless.is_some()),
        (1, 1, true, false)
    );
    for bad in [
        "server_names = { \"A.example\" = \"a\" }",
        "server_names = { \"a..example\" = \"a\" }",
        "server_names = { \"*\" = \"a\" }",
        "server_names = { \"a.*.example\" = \"a\" }",
        "server_names = { \"a.example\" = \"b\" }",
        "server_names = {}",
        "server_names = { \"a.example\" = \"a\" }\npool = \"a\"",
        "pool = \"a\"\nunknown_name = \"a\"",
        "unknown_name = \"a\"",
        "server_names = { \"a.example\" = \"a\" }\ndial = \"at-once\"",
        "pool = \"a\"\nproxy_header_from = [\"10.0.0.1/8\"]",
    ] {
        assert_eq!(refused(&by_name(bad)).code(), "proxy.config.value", "{bad}");
    }
    Config::parse(&by_name(
        "pool = \"a\"\ndial = \"at-once\"\nproxy_header_from = [\"10.0.0.0/8\"]",
    ))
    .unwrap();
}
