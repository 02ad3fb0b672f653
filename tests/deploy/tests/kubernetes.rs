//! The objects for Kubernetes, as the chart renders them: what they start, what they may do, whom they reach.
//!
//! `image/deploy/kubernetes` is what Helm makes of the chart; `chart.rs` compares the two.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Parser;
use hanzo_kbs::KbsConfig;
use hanzo_proxy::ProxyArgs;
use hanzo_tests_deploy::files::{below, deploy, ending, root, text};
use hanzo_tests_deploy::yaml::documents;
use serde_json::Value;

/// Every object of a file.
fn objects(file: &Path) -> Vec<Value> {
    documents(&text(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Every object there is, with its file's name.
fn all() -> Vec<(String, Value)> {
    let files = ending(&deploy("kubernetes"), ".yaml");
    let named = files.iter().flat_map(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        objects(file).into_iter().map(move |object| (name.clone(), object))
    });
    named.collect()
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap()
}

/// Pod templates, with what they belong to.
fn pods() -> Vec<(String, Value, Value)> {
    let with_pods = all().into_iter().filter(|(_, o)| o["spec"]["template"].is_object());
    let found: Vec<_> = with_pods
        .map(|(file, o)| {
            (
                format!("{file}: {}", o["metadata"]["name"]),
                o["spec"]["template"].clone(),
                o,
            )
        })
        .collect();
    // Proxy and broker by default; the proxy of each node; broker and guest.
    assert_eq!(found.len(), 5);
    found
}

fn containers(pod: &Value) -> Vec<&Value> {
    let kinds = ["initContainers", "containers"].into_iter();
    kinds
        .filter_map(|kind| pod["spec"][kind].as_array())
        .flatten()
        .collect()
}

fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn images_are_named_by_digest_and_nothing_is_the_latest() {
    for (name, pod, _) in pods() {
        for container in containers(&pod) {
            let image = container["image"].as_str().unwrap();
            let (repository, digest) = image
                .split_once("@sha256:")
                .unwrap_or_else(|| panic!("{name}: {image}"));
            assert!(digest.len() == 64 && !repository.contains("latest"), "{name}: {image}");
        }
    }
    for file in below(&deploy("")) {
        let lower = text(&file).to_lowercase();
        assert!(
            !lower.contains(":latest") && !lower.contains("imagepullpolicy"),
            "{}",
            file.display()
        );
    }
}

#[derive(Parser)]
struct Proxy {
    #[command(subcommand)]
    command: ProxyCommand,
}

#[derive(clap::Subcommand)]
enum ProxyCommand {
    Run(ProxyArgs),
}

#[test]
fn containers_give_options_that_their_programs_have() {
    let cli = text(&root().join("kbs/server/src/cli.rs"));
    let mut seen = BTreeSet::new();
    for (name, pod, _) in pods() {
        for container in containers(&pod) {
            let image = container["image"].as_str().unwrap();
            let program = image.split('@').next().unwrap().rsplit('/').next().unwrap();
            let words = [vec![program.to_owned()], strings(&container["args"])].concat();
            match program {
                "hanzo-proxy" => {
                    let ProxyCommand::Run(args) = Proxy::try_parse_from(&words)
                        .unwrap_or_else(|e| panic!("{name}: {e}"))
                        .command;
                    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
                    assert!(grace > args.drain_s, "{name}: killed while it drains");
                    let broken: Vec<_> = words.iter().map(|w| w.replace("--guest=", "--guests=")).collect();
                    assert!(Proxy::try_parse_from(broken).is_err(), "{name}");
                }
                "hanzo-vm" => {
                    if let Err(error) = hanzo_image::cli::Cli::try_parse_from(&words) {
                        panic!("{name}: {error}");
                    }
                }
                "hanzo-kbs" => {
                    // Its parser is the program's own; both commands take a configuration and nothing else has to be given.
                    let command = if words[1] == "serve" { "Serve" } else { "AcceptHead" };
                    let options = cli
                        .split(&format!("    {command} {{"))
                        .nth(1)
                        .and_then(|o| o.split("    },").next());
                    assert!(options.is_some_and(|o| o.contains("config: PathBuf")), "{command}");
                    assert_eq!(words[1..], [&words[1], "--config=/etc/hanzo-kbs/kbs.toml"]);
                    assert!(["serve", "accept-head"].contains(&words[1].as_str()));
                }
                other => panic!("{name}: {other}"),
            }
            seen.insert(program.to_owned());
        }
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn the_broker_reads_the_configuration_that_the_chart_writes() {
    let maps: Vec<_> = all().into_iter().filter(|(_, o)| kind(o) == "ConfigMap").collect();
    assert_eq!(maps.len(), 2);
    for (file, map) in maps {
        let written = map["data"]["kbs.toml"].as_str().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            let path = dir.path().join("kbs.toml");
            fs::write(&path, text).unwrap();
            KbsConfig::load(&path)
        };
        let config = load(written).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(config.listen.port(), 8090);
        let admins = if file == "whole.yaml" { 2 } else { 0 };
        assert_eq!(config.admin_keys.len(), admins, "{file}");
        assert!(config.four_eyes && config.simulator_roots.is_empty());
        let store = config.store.to_str().unwrap();
        assert!(
            store.starts_with("postgresql://") && store.contains("sslmode=verify-full"),
            "{store}"
        );
        assert!(!written.contains("password"), "{file}");
        // What a file of it names is mounted where it says.
        let (_, pod, _) = pods()
            .into_iter()
            .find(|(n, ..)| n.starts_with(&file) && n.contains("kbs"))
            .unwrap();
        for container in containers(&pod) {
            let mounts: Vec<_> = container["volumeMounts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| m["mountPath"].as_str().unwrap())
                .collect();
            for option in ["sslrootcert=", "sslcert=", "sslkey="] {
                let path = store.split(option).nth(1).unwrap().split('&').next().unwrap();
                assert!(mounts.iter().any(|m| path.starts_with(m)), "{file}: {path}");
            }
            assert!(mounts.contains(&config.head_file.parent().unwrap().to_str().unwrap()));
            let credentials = &container["env"][0];
            assert_eq!(credentials["name"], "CREDENTIALS_DIRECTORY");
            assert!(mounts.contains(&format!("{}/kbs.root", credentials["value"].as_str().unwrap()).as_str()));
        }
        for (good, bad) in [
            ("sessions_max", "session_max"),
            ("behind-a-tls-front", "loopback"),
            ("kind = \"credential\"", "kind = \"environment\""),
        ] {
            let refused = load(&written.replace(good, bad)).unwrap_err();
            assert_eq!(refused.code(), "kbs.config", "{file}: {bad}");
        }
    }
}

#[test]
fn every_pod_is_within_the_restricted_standard() {
    for (name, pod, _) in pods() {
        let spec = &pod["spec"];
        let of_pod = &spec["securityContext"];
        assert_eq!(of_pod["runAsNonRoot"], true, "{name}");
        assert!(of_pod["runAsUser"].as_u64().unwrap() > 0, "{name}");
        assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        for shared in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(spec[shared].is_null(), "{name}: {shared}");
        }
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let allowed = ["configMap", "secret", "emptyDir", "persistentVolumeClaim"];
            assert!(allowed.iter().any(|kind| volume[kind].is_object()), "{name}: {volume}");
        }
        for container in containers(&pod) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(strings(&security["capabilities"]["drop"]), ["ALL"], "{name}");
            assert!(security["capabilities"]["add"].is_null(), "{name}");
            let resources = &container["resources"];
            for what in ["cpu", "memory", "ephemeral-storage"] {
                assert!(resources["limits"][what].is_string(), "{name}: {what}");
            }
            assert_eq!(resources["limits"], resources["requests"], "{name}");
            // Secrets are files: none is an environment variable or an argument.
            for variable in container["env"].as_array().into_iter().flatten() {
                assert!(variable["valueFrom"].is_null(), "{name}: {variable}");
            }
        }
    }
}

/// Whether a selector's labels are all among a pod's.
fn selects(selector: &Value, pod: &Value) -> bool {
    let labels = selector["matchLabels"].as_object().unwrap();
    labels
        .iter()
        .all(|(name, value)| &pod["metadata"]["labels"][name] == value)
}

#[test]
fn nobody_is_reached_or_reaches_out_but_as_a_policy_says() {
    let objects = all();
    for (name, pod, _) in pods() {
        let file = name.split(':').next().unwrap();
        let policies: Vec<_> = objects
            .iter()
            .filter(|(f, o)| f == file && kind(o) == "NetworkPolicy" && selects(&o["spec"]["podSelector"], &pod))
            .map(|(_, o)| &o["spec"])
            .collect();
        assert_eq!(policies.len(), 2, "{name}: the denial and its own");
        for policy in &policies {
            assert_eq!(strings(&policy["policyTypes"]), ["Ingress", "Egress"], "{name}");
        }
        let denials = policies
            .iter()
            .filter(|p| p["ingress"].is_null() && p["egress"].is_null())
            .count();
        assert_eq!(denials, 1, "{name}");
        for rule in policies
            .iter()
            .flat_map(|p| [&p["ingress"], &p["egress"]])
            .filter_map(Value::as_array)
            .flatten()
        {
            // A rule without ports or peers would allow every one.
            assert!(
                rule["ports"].as_array().is_some_and(|p| !p.is_empty()),
                "{name}: {rule}"
            );
            let peers = if rule["to"].is_null() {
                &rule["from"]
            } else {
                &rule["to"]
            };
            assert!(peers.as_array().is_some_and(|p| !p.is_empty()), "{name}: {rule}");
            if !rule["to"].is_null() {
                assert!(
                    !rule.to_string().contains("0.0.0.0/0"),
                    "{name} reaches everybody: {rule}"
                );
            }
        }
    }
}

#[test]
fn probes_ask_endpoints_that_exist() {
    let routes = text(&root().join("kbs/server/src/http.rs"));
    let of_guest = text(&root().join("enclave/inference/src/router.rs"));
    let mut asked = 0;
    for (name, pod, _) in pods() {
        for container in containers(&pod) {
            let ports: Vec<_> = container["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|p| p["name"].clone())
                .collect();
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"].map(|p| &container[p]) {
                if let Some(path) = probe["httpGet"]["path"].as_str() {
                    let routes = if probe["httpGet"]["scheme"] == "HTTPS" {
                        &of_guest
                    } else {
                        &routes
                    };
                    assert!(routes.contains(&format!("\"{path}\"")), "{name}: {path}");
                    assert!(ports.contains(&probe["httpGet"]["port"]), "{name}");
                    asked += 1;
                } else if probe.is_object() {
                    assert!(ports.contains(&probe["tcpSocket"]["port"]), "{name}");
                }
            }
        }
    }
    assert_eq!(asked, 3 + 3 + 2);
}

#[test]
fn replicas_have_a_budget_and_a_service() {
    let objects = all();
    for (name, pod, owner) in pods() {
        let file = name.split(':').next().unwrap();
        let of = |wanted: &str, selector: fn(&Value) -> Value| {
            let found = objects
                .iter()
                .filter(|(f, o)| f == file && kind(o) == wanted && selects(&selector(o), &pod));
            found.count()
        };
        let budgets = of("PodDisruptionBudget", |o| o["spec"]["selector"].clone());
        assert_eq!(budgets, usize::from(kind(&owner) != "DaemonSet"), "{name}");
        let services = of(
            "Service",
            |o| serde_json::json!({ "matchLabels": o["spec"]["selector"] }),
        );
        assert_eq!(services, 1, "{name}");
        assert!(selects(&owner["spec"]["selector"], &pod), "{name}");
    }
}

#[test]
fn the_namespace_enforces_the_restricted_standard() {
    let namespace = objects(&deploy("kubernetes/namespace.yaml")).remove(0);
    for mode in ["enforce", "audit", "warn"] {
        let label = format!("pod-security.kubernetes.io/{mode}");
        assert_eq!(namespace["metadata"]["labels"][label], "restricted");
    }
}
